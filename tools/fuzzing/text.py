"""Mutations of prototxts that keep most of a file legal, so that they reach the stages behind the parser."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache

from netc import proto
from netc.layers import registry

NUMBERS = [
    *map(str, (0, 1, 2, 3, 5, -1, -2, 7, 64, 1000, 65536, 10**6, 2**31 - 1, 2**31, 2**32 - 1, -(2**31), 2**63 - 1)),
    *("0.5", "-0.5", "1e-45", "3.4e38", "1e39", "inf", "-inf", "nan", "1e400", "0x10", "017"),
]
SCRAPS = ["{", "}", "<", ">", "[", "]", ":", ";", ",", '"', "'", "\\", "#", "-", ".", "\0", "\ufeff", "é", "\udce9"]
SCRAPS += ["{ }", "[]", "# }\n", '"" ""', "/*", "=", "\r\n", "\v", "\x7f", "<<<<<<< a\n"]

_NUMBER, _STRING, _WORD = (re.compile(r) for r in (r"(?<=: )-?[0-9.][\w.+-]*", r'"[^"\n]*"', r"(?<=: )[A-Za-z]\w*"))
_NAME = re.compile(r"[A-Za-z_]\w*(?=\s*[:{<])")
_TOKEN = re.compile(r'"[^"\n]*"|\'[^\'\n]*\'|#[^\n]*|[\w.+-]+|\s+|.', re.DOTALL)
_BLOCK = re.compile(r"\w+\s*:?\s*\{[^{}]*\}")


def mutate(text: str, rng: random.Random, others: Sequence[str] = ()) -> str:
    """`text` with one change; `others` lend blocks and lines."""
    return rng.choice(_MUTATIONS)(text, rng, others)


def _replace(text: str, pattern: re.Pattern[str], choices: Sequence[str], rng: random.Random) -> str:
    spots = list(pattern.finditer(text))
    if not spots or not choices:
        return text
    spot = rng.choice(spots)
    return text[: spot.start()] + rng.choice(choices) + text[spot.end() :]


@cache
def _field_names() -> list[str]:
    names = {field.name for name in proto.messages() for field in proto.message(name).DESCRIPTOR.fields}
    return sorted(names)


@cache
def _words() -> list[str]:
    """The names of all enum values, and the odd spellings of true and false."""
    enums = (field.enum_type for name in proto.messages() for field in proto.message(name).DESCRIPTOR.fields)
    return sorted({value.name for enum in enums if enum for value in enum.values} | {"true", "false", "t", "False"})


def _number(text: str, rng: random.Random, others: Sequence[str]) -> str:
    return _replace(text, _NUMBER, NUMBERS, rng)


def _string(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Another string of the file (blobs are wired anew), or a layer type."""
    known = _STRING.findall(text)
    return _replace(text, _STRING, known if rng.random() < 0.8 else [f'"{name}"' for name in registry()], rng)


def _word(text: str, rng: random.Random, others: Sequence[str]) -> str:
    return _replace(text, _WORD, _words(), rng)


def _name(text: str, rng: random.Random, others: Sequence[str]) -> str:
    return _replace(text, _NAME, _field_names(), rng)


def _line(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """A line dropped, doubled or moved."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    line = lines.pop(at)
    for _ in range(rng.randrange(3)):
        lines.insert(rng.choice([at, rng.randrange(len(lines) + 1)]), line)
    return "\n".join(lines)


def _block(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """An innermost block in place of another one, or beside it; from this file or another."""
    lent: list[str] = _BLOCK.findall(rng.choice([text, *others[:1]]))
    spots = list(_BLOCK.finditer(text))
    if not lent or not spots:
        return text
    spot, block = rng.choice(spots), rng.choice(lent)
    return text[: spot.start()] + block + " " + text[rng.choice([spot.start(), spot.end()]) :]


def _token(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """A token dropped, doubled, or in the place of another one."""
    tokens = _TOKEN.findall(text)
    if not tokens:
        return text
    at, to = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    match rng.randrange(3):
        case 0:
            tokens.pop(at)
        case 1:
            tokens.insert(at, tokens[at])
        case _:
            tokens[at] = tokens[to]
    return "".join(tokens)


def _form(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """The same written otherwise: angles, single quotes, separators, lists, comments, all on one line."""
    old, new = rng.choice(
        [
            ("{", ": {"),
            ('"', "'"),
            ("\n", ";\n"),
            ("\n", " "),
            ("\n", " # c\n"),
            (": ", ":"),
            ("{", "{{"),
            (": ", ": ["),
        ]
    )
    if rng.random() < 0.2:
        return text.replace("{", "<").replace("}", ">")
    return text.replace(old, new, rng.choice([1, 1, 3, -1]))


def _scrap(text: str, rng: random.Random, others: Sequence[str]) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(SCRAPS) + text[at:]


def _cut(text: str, rng: random.Random, others: Sequence[str]) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + text[at + rng.randrange(1, 30) :]


def _splice(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """The beginning of this file, and the end of another one."""
    other = others[0] if others else text
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other) + 1) :]


_MUTATIONS: list[Callable[[str, random.Random, Sequence[str]], str]] = [
    *[_number] * 5,
    *[_string] * 5,
    *[_word] * 2,
    *[_name] * 2,
    *[_line] * 3,
    *[_block] * 3,
    *(_token, _form, _scrap, _cut, _splice),
]
