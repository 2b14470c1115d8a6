"""What a remark is, and what `--json` prints of remarks and errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netc.errors import NetcError, Place, printable_lines


@dataclass(frozen=True, slots=True)
class Advice:
    """A remark: its code (of section A), what was found, where, and what could be done. `about`: the layers, where the
    words depend on the phase, but one remark at one place is enough for all phases."""

    code: str
    message: str
    place: Place
    hint: str | None = None
    about: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """Remarks of one key say the same."""
        return (self.code, str(self.place), *self.about) if self.about else (str(self),)

    def __str__(self) -> str:
        lines = [f"{self.place}: warning[{self.code}]: {printable_lines(self.message)}", self.place.excerpt()]
        lines += [f"  help: {printable_lines(self.hint)}"] if self.hint else []
        return "\n".join(line for line in lines if line)


def listed(names: list[str], most: int = 4) -> str:
    """ "conv1, conv2", or the ends of a long list: "conv1, conv2 … fc8"."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 2])} … {names[-1]}"


def as_dict(one: NetcError | Advice) -> dict[str, Any]:
    """For JSON: code, message, path, line and column (0 where there is none), hint (or None); in a file without lines
    also `part`, the layer and field."""
    place = one.place or Place("")
    part = {"part": place.part} if place.part else {}
    where = {"path": place.path, "line": place.line, "column": place.column, **part}
    return {"code": one.code, "message": one.message, **where, "hint": one.hint}
