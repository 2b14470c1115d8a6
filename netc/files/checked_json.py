"""JSON that somebody else wrote: bounded in depth and digits, and of the types that its reader expects.

    parse(text)             -> its value: tables, lists, texts, finite numbers, true, false, null
    check(value, form)      the types, by a small schema; raises ValueError that names the place: "layers.conv1[2] is …"

The size of the text is bounded where it is read (`netc.files.opening`, the formats of weight files).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 64
"""Tables and lists within each other. netc's own files have six."""

_MAX_TEXT = 40
"""Characters of a whole number that are looked at: one of 64 bits has 20."""

_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of a UTF-16 pair. U+DC80 to U+DCFF stand for bytes that are not UTF-8, as in file names."""

Form = Any
"""What a value must be: `str`, `int`, `float` (any number), `bool`, `dict`, `list`, `None` for null; a tuple: one
of these; [form]: a list of it; {str: form}: a table with any keys; a `Record`."""


@dataclass(frozen=True, slots=True)
class Record:
    """A table with known keys: those that it must have and those that it may have. Others are passed over."""

    needs: Mapping[str, Form]
    may: Mapping[str, Form] = field(default_factory=dict)


def parse(text: str | bytes, constants: bool = False) -> Any:
    """The value of a JSON text. `constants`: NaN and Infinity are numbers too, as json.dumps writes them.

    Raises ValueError: not JSON, not UTF-8, deeper than `MAX_DEPTH`, a whole number beyond 64 bits, a number beyond a
    double, a key that stands twice in a table, half a character.
    """
    if isinstance(text, bytes | bytearray):
        text = bytes(text).decode("utf-8")
    constant = float if constants else _no_constant
    try:
        value = json.loads(text, object_pairs_hook=_table, parse_int=_whole, parse_float=_real, parse_constant=constant)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def check(value: Any, form: Form, at: str = "") -> None:
    """Raises ValueError unless `value` is of the form; `at`: what it is called."""
    if isinstance(form, tuple):
        _check_choice(value, form, at)
    elif isinstance(form, list):
        _expect(isinstance(value, list), at, "a list")
        for index, one in enumerate(value):
            check(one, form[0], f"{at}[{index}]")
    elif isinstance(form, Record):
        _check_record(value, form, at)
    elif isinstance(form, dict):
        _expect(isinstance(value, dict), at, "a table")
        for key, one in value.items():
            check(one, form[str], _below(at, key))
    else:
        _expect(_is(value, form), at, _NAMES[form])


def _check_choice(value: Any, forms: tuple[Form, ...], at: str) -> None:
    simple = [form for form in forms if form is None or isinstance(form, type)]
    if any(_is(value, form) for form in simple):
        return
    rest = [form for form in forms if form not in simple]
    _expect(bool(rest), at, " or ".join(_NAMES[form] for form in simple))
    check(value, rest[0], at)


def _check_record(value: Any, form: Record, at: str) -> None:
    _expect(isinstance(value, dict), at, "a table")
    for key, inner in form.needs.items():
        if key not in value:
            raise ValueError(f'{at or "it"} has no "{key}"')
        check(value[key], inner, _below(at, key))
    for key, inner in form.may.items():
        if key in value:
            check(value[key], inner, _below(at, key))


_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
    None: "null",
}


def _is(value: Any, form: Form) -> bool:
    """A bool is not a number here; a whole number is one."""
    kind = type(value)
    return value is None if form is None else kind is form or (form is float and kind is int)


def _expect(holds: bool, at: str, what: str) -> None:
    if not holds:
        raise ValueError(f"{at or 'it'} is not {what}")


def _below(at: str, key: str) -> str:
    key = key if len(key) <= 60 else key[:60] + "…"
    return f"{at}.{key}" if at else key


# -- parsing -----------------------------------------------------------------------------------------------------------


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key stands twice")
    return table


def _whole(text: str) -> int:
    if len(text) > _MAX_TEXT or not -(1 << 63) <= (number := int(text)) < 1 << 64:
        raise ValueError(f"a whole number of {len(text.lstrip('-')):,} digits is beyond 64 bits")
    return number


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:_MAX_TEXT]} is beyond what a double holds")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def _check_depth(value: Any) -> None:
    """Raises ValueError also for a text with half a character, which no file can be written with."""
    level, depth = [value], 0
    while level:
        for one in level:
            if isinstance(one, str) and _LONE.search(one):
                raise ValueError("a text has half a character (a lone surrogate)")
        level = [inner for one in level for inner in _inside(one)]
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise _too_deep()


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _too_deep() -> ValueError:
    return ValueError(f"tables and lists stand more than {MAX_DEPTH} deep in each other")
