"""Places and errors: everything a user can cause is a :class:`NetcError` that says where and what to do.

    NetcError               one error: code, message, place (file:line:column), hint, related places
    └── NetcErrors          several at once (`.errors`); what a front-end stage raises when it found more than one

The codes are stable; the letter is the stage that found the error, and `EXIT_STATUS` maps it to the status the
command line returns.

    P  text: characters, brackets, limits           G  graph: bottoms, tops, sharing, phases
    S  schema: fields, types, enums                 L  layers: parameters and shape rules
    U  upgrade from the older formats               D  data: databases, records, images, means, labels
    R  run: solver settings, training, testing      W  weights and snapshots
    F  files that are missing                       O  output that cannot be written
    X  I/O errors                                   C  command line
    A  advice: what is valid, but probably unintended (`netc.check.advice`); it changes no exit status
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

EXIT_STATUS = {"F": 66, "O": 73, "X": 74, "C": 2}
"""Exit status by the code's letter; every other letter is bad input data, 65."""


MAX_ERRORS = 50
"""Most errors shown for one file; a stage that has found more stops looking."""


@dataclass(frozen=True, slots=True)
class Place:
    """A span of one line in a source file. `line` and `column` count from 1; `text` is the whole source line.
    `part` says where in a file without lines: 'layer "conv1", convolution_param'."""

    path: str
    line: int = 0
    column: int = 0
    length: int = 1
    text: str = ""
    part: str = ""

    def __str__(self) -> str:
        path = printable(self.path)
        if self.line:
            return f"{path}:{self.line}:{self.column}"
        return f"{path}, {printable(self.part)}" if self.part else path

    def excerpt(self) -> str:
        """The source line with a caret under the span, or "" where the line is not known."""
        if not self.line or not self.text:
            return ""
        start, text = _window(self.text, self.column - 1)
        span = printable(text[start : start + self.length])
        start, text = len(printable(text[:start])), printable(text)
        width = max(1, min(len(span), len(text) - start))
        gutter = f"{self.line:5d} | "
        return f"{gutter}{text}\n{' ' * (len(gutter) - 2)}| {' ' * start}{'^' * width}"


def _window(text: str, start: int, width: int = 110) -> tuple[int, str]:
    """The part of a very long line around `start`, and where that lies in it."""
    start = min(start, len(text))
    left = 0 if len(text) <= width or start < width * 2 // 3 else start - width // 2
    shown = text[left : left + width].rstrip()
    return start - left, ("…" + shown[1:] if left else shown) + ("…" if left + width < len(text) else "")


def printable(text: str) -> str:
    """`text` with control characters shown as escapes (a name in a file must not drive the terminal)."""
    return text if text.isprintable() else "".join(c if c.isprintable() else visible(c) for c in text)


def visible(char: str) -> str:
    """An escape for a character that cannot be shown; a byte that was not UTF-8 arrives as a lone surrogate."""
    code = ord(char)
    if char == "\t":
        return " "
    return f"\\x{code & 0xFF:02x}" if code < 0x100 or 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


class NetcError(Exception):
    """An error that the user can cause and correct.

    Attributes: `code` ("S201"), `message`, `path`, `line`, `column` (0 where unknown), `hint` (the remedy or None),
    `related` (further places, each with a label), `errors` (this one, or all of a `NetcErrors`).
    """

    def __init__(
        self,
        code: str,
        message: str,
        place: Place | None = None,
        hint: str | None = None,
        related: Sequence[tuple[Place, str]] = (),
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.place = code, message, place
        self.hint, self.related = hint, tuple(related)

    @property
    def path(self) -> str:
        return self.place.path if self.place else ""

    @property
    def line(self) -> int:
        return self.place.line if self.place else 0

    @property
    def column(self) -> int:
        return self.place.column if self.place else 0

    @property
    def errors(self) -> tuple[NetcError, ...]:
        return (self,)

    @property
    def exit_status(self) -> int:
        return EXIT_STATUS.get(self.code[:1], 65)

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        lines = [f"{where}error[{self.code}]: {printable_lines(self.message)}"]
        if self.place:
            lines.append(self.place.excerpt())
        for place, label in self.related:
            lines += [f"{place}: {printable(label)}", place.excerpt()]
        if self.hint:
            lines.append(f"  help: {printable_lines(self.hint)}")
        return "\n".join(line for line in lines if line)

    def _render_traceback_(self, *_: object) -> list[str]:
        """What IPython and Jupyter show instead of a traceback: where the user's own code was, and the error."""
        return [*_users_frame(self.__traceback__), *str(self).splitlines()]

    def __reduce__(self) -> tuple[object, ...]:  # travels from a decode worker to the parent process
        return type(self), (self.code, self.message, self.place, self.hint, self.related)


_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_INSIDE = tuple(os.path.join(os.path.realpath(os.path.join(_FOLDER, room)), "") for room in ("", "runtime", "proto"))
"""Where netc's own code lies: also in a bare checkout, whose rooms are links."""


def _users_frame(frames: TracebackType | None) -> list[str]:
    """The last line of code that is not netc's before netc's own begin, as a traceback shows it, without its carets."""
    import traceback

    found: traceback.FrameSummary | None = None
    for frame in traceback.extract_tb(frames):
        if os.path.realpath(frame.filename).startswith(_INSIDE):
            break
        found = frame
    if found is None:
        return []
    return [
        f'  File "{found.filename}", line {found.lineno}, in {found.name}',
        *[f"    {found.line}"] * bool(found.line),
    ]


class NetcErrors(NetcError):
    """Several errors of one file, in the order of their places. Its own place and code are the first error's."""

    def __init__(self, errors: Iterable[NetcError]) -> None:
        self._errors = tuple(sorted(errors, key=lambda e: (e.path, e.line, e.column)))
        first = self._errors[0]
        super().__init__(first.code, first.message, first.place, first.hint, first.related)

    @property
    def errors(self) -> tuple[NetcError, ...]:
        return self._errors

    def __str__(self) -> str:
        lines = [str(error) for error in self._errors[:MAX_ERRORS]]
        return "\n".join(lines if len(self._errors) <= MAX_ERRORS else [*lines, "… and more"])

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._errors,)


class Findings(list[NetcError]):
    """The errors a stage has found so far."""

    def add(self, error: NetcError) -> None:
        """Note an error; raise all of them where nobody would read more."""
        self.append(error)
        if len(self) > MAX_ERRORS:
            raise_all(self)


def raise_all(errors: Sequence[NetcError]) -> None:
    """Raise the one error or all of them together; return if there is none."""
    flat = [error for group in errors for error in group.errors]
    if len(flat) == 1:
        raise flat[0]
    if flat:
        raise NetcErrors(flat)


def printable_lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


MAX_COMPARED = 1000
"""Most known words a misspelt one is compared with: the last ones, which stand nearest to it in a file."""


def nearest(word: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known words closest to `word` (case ignored), best first; none where nothing is close."""
    if len(word) > 80:  # difflib is quadratic, and no name of ours is that long
        return []
    table = {name.lower(): name for name in list(known)[-MAX_COMPARED:]}
    return [table[hit] for hit in difflib.get_close_matches(word.lower(), list(table), n=count, cutoff=cutoff)]


def counted(count: int, noun: str) -> str:
    """ "1 bottom", "2 bottoms", "1,000 bottoms"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean "x"?' for the nearest known word, or ''."""
    hits = nearest(word, known)
    return f'; did you mean "{hits[0]}"?' if hits else ""
