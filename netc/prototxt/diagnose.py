"""What is wrong with a text that does not parse: the message, the place and the remedy for each syntax error.

`parse` only knows that a token does not fit. What a person meant is guessed here from the text around it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netc.errors import NetcError
from netc.prototxt.brackets import bracket_hint, unclosed
from netc.prototxt.source import Source

if TYPE_CHECKING:
    from lark import UnexpectedInput

MAX_BLOCKS = 20
"""Most blocks of one file whose syntax errors are reported."""

MAX_RETRIED = 1 << 17
"""Longest text that is parsed again to find its further errors; a longer one gets its first error only."""


def syntax_errors(source: Source, error: UnexpectedInput, parse: Callable[[str], object]) -> list[NetcError]:
    """The error, and those of the other top-level blocks: each block with an error is blanked and the rest parsed
    again (the place of every character stays)."""
    from lark import UnexpectedInput

    if conflict := unresolved(source):
        return conflict
    errors = [_describe(source, error)]
    text = source.text
    for _ in range(MAX_BLOCKS - 1 if len(text) <= MAX_RETRIED else 0):
        text = _blank_block(text, _offset(source, error))
        try:
            parse(text)
            break
        except UnexpectedInput as next_error:
            if _at_end(next_error) or _offset(source, next_error) <= _offset(source, error):
                break
            error = next_error
            errors.append(_describe(source, error))
    return errors


_BLOCK_START = re.compile(r"^[A-Za-z_]", re.MULTILINE)


def _blank_block(text: str, offset: int) -> str:
    """Blank the unindented line at or above `offset` and everything down to the next unindented line below it."""
    starts = [m.start() for m in _BLOCK_START.finditer(text)]
    row = bisect_right(starts, offset)
    begin = starts[row - 1] if row else 0
    end = starts[row] if row < len(starts) else len(text)
    return text[:begin] + re.sub(r"[^\n]", " ", text[begin:end]) + text[end:]


def _at_end(error: UnexpectedInput) -> bool:
    token = _token(error)
    return token is not None and token.type == "$END"


def _token(error: UnexpectedInput) -> Any:
    """The token that does not fit; None where a character begins none."""
    return getattr(error, "token", None)


def _offset(source: Source, error: UnexpectedInput) -> int:
    if _at_end(error) or error.pos_in_stream is None:
        return len(source.text)
    return min(error.pos_in_stream, len(source.text))


# -- files that are something else -------------------------------------------------------------------------------------

_PICTURES = ("\udc89PNG", "\udcff\udcd8\udcff", "GIF8", "RIFF")
_LISTED = re.compile(r"[^\s:{]*\w\.\w+[ \t]+[-+\d. \t]*\d\s*")
"""A line of a list of images: a file's name and its labels."""
_PATH = re.compile(r"[\w.~/\\@+-]+\.(?:prototxt|pt|txt)")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_QUIET = re.compile(r"\"(?:[^\"\\\n\0]|\\[^\n\0])*\"|'(?:[^'\\\n\0]|\\[^\n\0])*'|#[^\n\0]*")
"""Strings and comments, where text may have control characters (but NUL)."""

_CONFLICT = re.compile(r"^(?:<{7} |={7}$|>{7} )", re.MULTILINE)
_FOREIGN = {
    "JSON text": 'a net is written without braces around it and without quotes around names: name: "x"',
    "web page": "it was saved from a browser's view of the file; download the raw file instead",
    "UTF-16 text": "save it as UTF-8",
    "binary file": "a prototxt is text; `netc weights` shows what a file of weights holds",
    "picture": "pictures reach a net through the source of a data layer; `netc convert-imageset` puts them into one",
    "list of images": "its place is the source of an ImageData layer; `netc convert-imageset` makes a database of it",
    "file that holds only the name of another file": "a symbolic link was saved as text; use the file it names",
}


def foreign(source: Source) -> list[NetcError]:
    """The error of a file that is not a prototxt at all, or none; looks at its beginning only."""
    head = source.text[:400]
    start = head.lstrip("\ufeff \t\r\n").lower()
    kind = None
    if start.startswith(("<!doctype", "<html", "<?xml")):
        kind = "web page"
    elif head.startswith(("\udcff\udcfe", "\udcfe\udcff")):
        kind = "UTF-16 text"
    elif head.startswith(_PICTURES):
        kind = "picture"
    elif _CONTROL.search(_QUIET.sub("", head)) or start.startswith("%pdf"):
        kind = "binary file"
    elif re.match(r"\{|\[\s*\{", start):
        kind = "JSON text"
    elif len(source.text) <= len(head) and _PATH.fullmatch(head.strip()):
        kind = "file that holds only the name of another file"
    elif all(_LISTED.fullmatch(line) for line in head.strip().split("\n")[:5]):
        kind = "list of images"
    return [NetcError("P105", f"this is a {kind}, not a prototxt", source.place(0), _FOREIGN[kind])] if kind else []


def unresolved(source: Source) -> list[NetcError]:
    """The error of a file with git's conflict marks in it, or none."""
    if (conflict := _CONFLICT.search(source.text)) is None:
        return []
    return [
        NetcError(
            "P106",
            "the file holds an unresolved merge conflict",
            source.place(conflict.start(), 7),
            "keep one of the two versions and delete the lines of <<<<<<<, ======= and >>>>>>>",
        )
    ]


# -- one error ---------------------------------------------------------------------------------------------------------


def _describe(source: Source, error: Any) -> NetcError:
    if _at_end(error):
        return unclosed(source)
    offset = _offset(source, error)
    if (found := _token(error)) is not None:
        token = str(found).rstrip()
        if found.type == "PLAIN":  # a run of fields; its first name is what stands in the wrong place
            token = _NAME.match(token)[0]  # type: ignore[index]
        return _unexpected(source, offset, token, set(error.accepts or error.expected))
    return _stray(source, offset)


_NAME = re.compile(r"\w+")
_VALUE_IS_NAME = re.compile(r"([A-Za-z_]\w*)([ \t]*:\s*)([A-Za-z_]\w*)\s*\Z")
_LAST_WORD = re.compile(r"([A-Za-z_]\w*)\s*\Z")
_LIST_ITEM = re.compile(r"([A-Za-z_]\w*)\s*:\s*(\S+)\s*,\s*\Z")
_NO_VALUE = re.compile(r"([A-Za-z_]\w*)\s*:\s*\Z")
_A_VALUE = "expected a value"
_PLACEHOLDER = re.compile(r":\s*\{\s*[\w ]+\Z")


def _unexpected(source: Source, offset: int, token: str, accepted: set[str]) -> NetcError:
    """A token that is well-formed but does not fit here."""
    before = source.text[max(0, offset - 500) : offset]
    place = source.place(offset, len(token))
    if token in ("{", "<", ":") and (value := _VALUE_IS_NAME.search(before)):
        return _no_value(source, offset - len(before), value, token)
    if token == "}" and _PLACEHOLDER.search(before):
        return NetcError("P101", "a name in braces is not a value", place, _TEMPLATE)
    hint = bracket_hint(source, offset, token) if token in ("}", ">") else None
    if token == "-" and (value := _VALUE_IS_NAME.search(before)):
        hint = f'a string stands in quotes: `{value[1]}: "{value[3]}-…"`'
    if (item := _LIST_ITEM.search(before)) and "COLON" not in accepted:
        hint = f"a list is written `{item[1]}: [{item[2]}, …]`"
        if before.endswith(",") and item[2].isdecimal() and token.isdecimal():
            hint = f"a fraction is written `{item[2]}.{token}`, a list `[{item[2]}, {token}]`"
    if {"COLON", "LBRACE"} <= accepted and (word := _LAST_WORD.search(before)):
        hint = f"write `{word[1]}: {token}`" if token[0] not in "}>],;" else None
        return NetcError("P101", f'expected ":" or "{{" after "{word[1]}", found {_quote(token)}', place, hint)
    expected = _expected(accepted)
    if expected == _A_VALUE and (field := _NO_VALUE.search(before)):
        expected += f' after "{field[1]}:"'
    return NetcError("P101", f"{expected}, found {_quote(token)}", place, hint)


def _no_value(source: Source, start: int, value: re.Match[str], token: str) -> NetcError:
    """`top:` without its value swallowed the name of the next field, or `pooling_param: kernel_size: 2`."""
    name, gap, taken = value.groups()
    place = source.place(start + value.start(1), len(name) + len(gap.rstrip()))
    hint = f'"{taken}" on the next line was read as its value'
    if token == ":":
        hint += f"; a block is written `{name} {{ … }}`"
    if "\n" not in gap:
        hint = f"for a block write `{name} {{ {taken}: … }}`; otherwise put each field on a line of its own"
    return NetcError("P101", f'"{name}:" has no value', place, hint)


_TOKENS = {
    "NAME": "a field name",
    "RBRACE": '"}"',
    "RANGLE": '">"',
    "COLON": '":"',
    "LBRACE": '"{"',
    "RSQB": '"]"',
    "COMMA": '","',
    "NUMBER": "a number",
    "STRING": "a string",
    "$END": "the end of the file",
}


def _expected(accepted: set[str]) -> str:
    if {"NUMBER", "STRING", "NAME"} <= accepted:
        return _A_VALUE
    if "STRING" in accepted and len(accepted & _TOKENS.keys()) > 1:  # a string may go on, but nobody means that
        accepted = accepted - {"STRING"}
    if accepted & {"RBRACE", "RANGLE", "$END"}:  # wherever a block may end, a field may start
        accepted = accepted | {"NAME"}
    if "SEMICOLON" in accepted:  # between two fields a comma is as good, but nobody needs either
        accepted = accepted - {"COMMA"}
    words = sorted({_TOKENS[name] for name in accepted & _TOKENS.keys()})
    return f"expected {' or '.join(words)}" if words else "unexpected text"


def _quote(token: str) -> str:
    short = token if len(token) <= 40 else token[:40] + "…"
    return short if token[0] in "\"'" else f'"{short}"'


# -- text that is not a token at all -----------------------------------------------------------------------------------

_TEMPLATE = "this looks like a template with a placeholder; fill it in first"
_WORD = re.compile(r"[\w.]+")
_BAD_CHARACTERS = {
    "+": ("a number takes no plus sign", None),
    "=": ('a value follows ":", not "="', None),
    "$": ('unexpected character "$"', _TEMPLATE),
    "%": ('unexpected character "%"', _TEMPLATE),
    "/": ('unexpected character "/"', 'a comment starts with "#"; a path stands in quotes'),
    "(": ('unexpected character "("', "a block is written with braces: `layer { … }`"),
    "\ufeff": ("the file starts with a byte order mark, which Caffe's parser refuses", "save it as UTF-8 without BOM"),
}


def _stray(source: Source, offset: int) -> NetcError:
    """Text that starts no token."""
    text = source.text
    char = text[offset : offset + 1]
    line = source.place(offset)
    if char in ("'", '"', "#") and (nul := line.text.find("\0", line.column - 1)) >= 0:
        offset, char = offset + nul - line.column + 1, "\0"
    if char in "\"'":
        return _open_string(source, offset, char)
    if text[offset : offset + 2] in ("//", "/*"):
        return NetcError(
            "P101", f'a comment starts with "#", not "{text[offset : offset + 2]}"', source.place(offset, 2)
        )
    if char == "." and offset and (text[offset - 1].isalnum() or text[offset - 1] == "_"):
        return _dotted(source, offset)
    if char.isdecimal() or char == ".":
        word = _WORD.match(text, offset)
        found = word.group()[:60] if word else char
        return NetcError("P101", f'"{found}" is not a number', source.place(offset, len(found)), _number_hint(found))
    if char in _BAD_CHARACTERS:
        message, hint = _BAD_CHARACTERS[char]
        return NetcError("P101", message, source.place(offset), hint)
    hint = "a string stands in straight quotes" if char in "“”„‘’«»" else None
    return NetcError("P101", f'unexpected character "{char}"{_character_name(char)}', source.place(offset), hint)


def _open_string(source: Source, offset: int, quote: str) -> NetcError:
    place = source.place(offset, len(source.place(offset).text) - source.place(offset).column + 1)
    return NetcError("P101", "this string is not closed on its line", place, f"end it with {quote}")


def _dotted(source: Source, offset: int) -> NetcError:
    start = offset
    while start and (source.text[start - 1].isalnum() or source.text[start - 1] == "_"):
        start -= 1
    word = _WORD.match(source.text, start)
    found = word.group()[:80] if word else "."
    hint = f"write `{found.rpartition('.')[2]}` alone for a value of an enum, or put quotes round a string"
    return NetcError("P101", f'a name has no dots: "{found}"', source.place(start, len(found)), hint)


def _number_hint(word: str) -> str | None:
    if "_" in word and word.replace("_", "").isdecimal():
        return f"write `{word.replace('_', '')}`"
    return "if it is a string, it stands in quotes" if any(c.isalpha() for c in word) else None


def _character_name(char: str) -> str:
    """' (NO-BREAK SPACE)' for what a person cannot see or tell from its neighbours."""
    if char.isascii() or "\udc80" <= char <= "\udcff":
        return ""
    return f" ({unicodedata.name(char, f'U+{ord(char):04X}')})"
