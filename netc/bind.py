"""Syntax tree → protobuf message: every field checked against the schema, all errors of the file at once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from netc.errors import Findings, NetcError, did_you_mean, raise_all
from netc.prototxt.ast import Field, Message, Scalar
from netc.prototxt.source import Source
from netc.unknown import explain, other_file

F = FieldDescriptor
_INT_RANGE = {
    F.TYPE_INT32: (-(2**31), 2**31 - 1),
    F.TYPE_UINT32: (0, 2**32 - 1),
    F.TYPE_INT64: (-(2**63), 2**63 - 1),
    F.TYPE_UINT64: (0, 2**64 - 1),
}
_BOOLS = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_WORD_FLOATS = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}
_MEANT = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
_WHOLE = re.compile(r"-?[0-9]{1,12}(?:\.0*)?(?:[eE]\+?[0-9])?")
_INTEGER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")
_DECIMAL = re.compile(r"(?:[1-9][0-9]*|0)[fF]?|(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?[fF]?")


def bind(tree: Message, message_class: Callable[[], Any], source: Source) -> Any:
    """A new message filled from `tree`.

    Raises NetcError S201 (unknown field), S202 (wrong kind of value), S203 (out of range), S204 (unknown enum value),
    S205 (field given twice), S206 (list on a singular field), S207 (bad string escape), S208 (required field missing),
    S209 (a solver where a net is expected, or the reverse).
    """
    message = message_class()
    if (field := other_file(tree, message.DESCRIPTOR)) is not None:
        raise _other_file(field, message.DESCRIPTOR, source)
    binder = _Binder(source)
    binder.fill(message, message.DESCRIPTOR, tree)
    raise_all(binder.errors)
    return message


def _other_file(field: Field, descriptor: Descriptor, source: Source) -> NetcError:
    found, expected = ("solver", "net") if descriptor.name == "NetParameter" else ("net", "solver")
    hint = "the file that a solver's `net:` names is the net" if found == "solver" else "a solver has a line `net: …`"
    place = source.place(field.offset, len(field.name))
    return NetcError("S209", f'this is a {found}, not a {expected}: "{field.name}" is a field of {found}s', place, hint)


@dataclass(frozen=True, slots=True)
class _Info:
    """What binding needs to know of a field, looked up once a message type."""

    name: str
    kind: int
    repeated: bool
    message: Descriptor | None
    enum: Any


@cache
def _fields(descriptor: Descriptor) -> dict[str, _Info]:
    return {f.name: _Info(f.name, f.type, f.is_repeated, f.message_type, f.enum_type) for f in descriptor.fields}


@cache
def _required(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(f.name for f in descriptor.fields if f.is_required)


class _Binder:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.errors = Findings()

    def fail(self, code: str, message: str, offset: int, length: int, hint: str | None = None) -> None:
        self.errors.add(NetcError(code, message, self.source.place(offset, length), hint))

    def fill(self, message: Any, descriptor: Descriptor, tree: Message) -> None:
        known = _fields(descriptor)
        seen: dict[str, Field] = {}
        for field in tree.fields:
            info = known.get(field.name)
            if info is None:
                self._unknown(field, descriptor, tree)
            elif info.repeated:
                self._repeated(message, info, field)
            elif field.name in seen:
                self._twice(field, seen[field.name], descriptor)
            else:
                seen[field.name] = field
                self._singular(message, info, field, descriptor)
        for name in _required(descriptor):
            if name not in seen:
                self.fail("S208", f'{descriptor.name} needs "{name}"', tree.offset, 1, f"add `{name}: …` to this block")

    def _unknown(self, field: Field, descriptor: Descriptor, tree: Message) -> None:
        end, hint = explain(field.name, descriptor, tree)
        message = f'{descriptor.name} has no field "{field.name}"{end}'
        self.fail("S201", message, field.offset, len(field.name), hint)

    def _twice(self, field: Field, first: Field, descriptor: Descriptor) -> None:
        place = self.source.place(field.offset, len(field.name))
        error = NetcError(
            "S205",
            f'"{field.name}" is given twice; {descriptor.name} takes it once',
            place,
            "keep one of the two",
            [(self.source.place(first.offset, len(first.name)), "first given here")],
        )
        self.errors.add(error)

    def _repeated(self, message: Any, info: _Info, field: Field) -> None:
        target = getattr(message, info.name)
        for value in field.values():
            if info.message is not None:
                if (child := self._message(info, value)) is None:
                    return  # the other values of the list are no better
                self.fill(target.add(), info.message, child)
            elif (scalar := self._scalar(info, value, field)) is not None:
                target.append(scalar)

    def _singular(self, message: Any, info: _Info, field: Field, descriptor: Descriptor) -> None:
        value = field.value
        if isinstance(value, list):
            hint = f"write one `{info.name}: …`" if len(value) != 1 else "take away the brackets"
            self.fail("S206", f'"{info.name}" takes one value, not a list', field.offset, len(field.name), hint)
        elif info.message is not None:
            if (tree := self._message(info, value)) is not None:
                child = getattr(message, info.name)
                child.SetInParent()
                self.fill(child, info.message, tree)
        elif (scalar := self._scalar(info, value, field)) is not None:
            setattr(message, info.name, scalar)

    def _message(self, info: _Info, value: Scalar | Message) -> Message | None:
        if isinstance(value, Message):
            return value
        assert info.message is not None
        inner = f"{info.message.fields[0].name}: " if len(info.message.fields) == 1 else ""
        self.fail(
            "S202",
            f'"{info.name}" is a block ({info.message.name}), not a value',
            value.offset,
            len(value.text),
            f"write `{info.name} {{ {inner}… }}`",
        )
        return None

    def _scalar(self, info: _Info, value: Scalar | Message, field: Field) -> Any:
        if isinstance(value, Message):
            self.fail("S202", f'"{info.name}" is {_wanted(info)}, not a block', field.offset, len(field.name))
            return None
        if not field.colon:
            self.fail("S202", f'expected ":" after "{info.name}"', field.offset, len(field.name))
            return None
        try:
            return _CONVERT[info.kind](info, value)
        except _BadEscape as bad:
            start = next((m.start() for m in _PAIR.finditer(value.text) if m.group() == bad.escape[:2]), 0)
            self.fail(
                "S207", f"unknown escape {bad.escape} in a string", value.offset + start, len(bad.escape), _SLASHES
            )
        except _Bad as bad:
            code, text, hint = bad.args
            self.fail(code, text, value.offset, len(value.text), hint)
        return None


class _Bad(Exception):
    """(code, message, hint) of a scalar that does not fit its field."""


class _BadEscape(Exception):
    def __init__(self, escape: str) -> None:
        super().__init__(escape)
        self.escape = escape


def _wanted(info: _Info) -> str:
    if info.enum is not None:
        return "one of " + ", ".join(v.name for v in info.enum.values)
    if info.kind in _INT_RANGE:
        return "a whole number" if _INT_RANGE[info.kind][0] else "a whole number of 0 or more"
    return {F.TYPE_BOOL: "true or false", F.TYPE_STRING: "a string", F.TYPE_BYTES: "a string"}.get(
        info.kind, "a number"
    )


def _mismatch(info: _Info, value: Scalar) -> _Bad:
    hint = None
    if value.kind == "string" and info.kind not in (F.TYPE_STRING, F.TYPE_BYTES):
        hint = f"write `{info.name}: {value.text[1:-1]}` without quotes"
    elif info.kind in _INT_RANGE and _WHOLE.fullmatch(value.text) and float(value.text).is_integer():
        hint = f"write `{info.name}: {float(value.text):.0f}`"
    elif info.kind == F.TYPE_BOOL and value.text.lower() in _MEANT:
        hint = f"write `{info.name}: {_MEANT[value.text.lower()]}`"
    elif value.kind != "string" and info.kind in (F.TYPE_STRING, F.TYPE_BYTES):
        hint = f'write `{info.name}: "{value.text}"`'
    return _Bad("S202", f'"{info.name}" is {_wanted(info)}, not {value.text[:60]}', hint)


def _integer(info: _Info, value: Scalar) -> int:
    negative, digits = value.text.startswith("-"), value.text.lstrip("-")
    low, high = _INT_RANGE.get(info.kind, (-(2**31), 2**31 - 1))
    if value.kind != "number" or not _INTEGER.fullmatch(digits):
        raise _mismatch(info, value)
    if len(digits.lstrip("0")) > 40:
        raise _Bad("S203", f'"{info.name}" is out of range: {digits[:20]}…', f"the range is {low} to {high}")
    number = -_whole(digits) if negative else _whole(digits)
    if not low <= number <= high or (negative and low == 0):
        raise _Bad("S203", f'"{info.name}" is out of range: {value.text}', f"the range is {low} to {high}")
    return number


def _float(info: _Info, value: Scalar) -> float:
    sign, body = (-1.0, value.text[1:]) if value.text.startswith("-") else (1.0, value.text)
    if value.kind == "name" and body.lower() in _WORD_FLOATS:
        return sign * _WORD_FLOATS[body.lower()]
    if value.kind != "number" or not _DECIMAL.fullmatch(body):
        raise _mismatch(info, value)
    number = sign * float(body.rstrip("fF"))
    if info.kind == F.TYPE_FLOAT and abs(number) > 3.4028235677973366e38:
        return math.copysign(math.inf, number)  # as C++'s cast; Python's protobuf does the same but slower
    return number


def _whole(digits: str) -> int:
    """Decimal, octal (a leading 0) or hexadecimal digits."""
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    return int(digits, base)


def _bool(info: _Info, value: Scalar) -> bool:
    if value.kind == "name" and value.text in _BOOLS:
        return _BOOLS[value.text]
    digits = value.text
    if value.kind == "number" and _INTEGER.fullmatch(digits) and len(digits.lstrip("0")) < 9 and _whole(digits) < 2:
        return _whole(digits) == 1
    raise _mismatch(info, value)


def _enum(info: _Info, value: Scalar) -> int:
    by_name = info.enum.values_by_name
    if value.kind == "string" and value.text[1:-1] in by_name:
        raise _mismatch(info, value)
    if value.kind == "name" and value.text in by_name:
        return int(by_name[value.text].number)
    if value.kind == "number":
        number = _integer(info, value)
        if number in info.enum.values_by_number:
            return number
    raise _Bad(
        "S204",
        f'"{info.name}" has no value {value.text[:60]}{did_you_mean(value.text.strip(chr(34)), by_name)}',
        f"it is {_wanted(info)}" if len(by_name) <= 12 else None,
    )


_ESCAPE = re.compile(
    rb"\\(?:([abfnrtv\\?'\"])|([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.|$))", re.DOTALL
)
_PAIR = re.compile(r"\\.", re.DOTALL)
_SLASHES = 'write "\\\\" for a backslash, or "/" between folders'
_SIMPLE = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_LITERAL = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)


def _string(info: _Info, value: Scalar) -> str | bytes:
    if value.kind != "string":
        raise _mismatch(info, value)
    if "\\" not in value.text and '" ' not in value.text and "' " not in value.text:
        text = value.text[1:-1]
        if info.kind == F.TYPE_STRING and text.isascii():
            return text
    raw = b"".join(_unescape(m.group()[1:-1]) for m in _LITERAL.finditer(value.text))
    if info.kind == F.TYPE_BYTES:
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _Bad("S207", f'"{info.name}" is not valid UTF-8', "save the file as UTF-8") from None


def _unescape(body: str) -> bytes:
    raw = body.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(_escape, raw) if b"\\" in raw else raw


def _escape(match: re.Match[bytes]) -> bytes:
    simple, octal, hexa, short, long, bad = match.groups()
    if simple is not None:
        return _SIMPLE.get(simple, simple)
    if octal is not None:
        return bytes([int(octal, 8) & 255])
    if hexa is not None:
        return bytes([int(hexa, 16)])
    code = int(short or long or b"ffffffff", 16)
    if bad is not None or code > 0x10FFFF:
        raise _BadEscape(match.group().decode("utf-8", "replace"))
    return chr(code).encode("utf-8", "surrogatepass")


_CONVERT: dict[int, Callable[[_Info, Scalar], Any]] = {
    **dict.fromkeys(_INT_RANGE, _integer),
    F.TYPE_FLOAT: _float,
    F.TYPE_DOUBLE: _float,
    F.TYPE_BOOL: _bool,
    F.TYPE_ENUM: _enum,
    F.TYPE_STRING: _string,
    F.TYPE_BYTES: _string,
}
