"""One scalar of a prototxt → the Python value of its field, by the rules of protobuf's C++ text format."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from netc.errors import did_you_mean
from netc.prototxt.ast import Scalar
from netc.prototxt.forks import FORK_OF_VALUE

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
_DECIMAL = re.compile(r"(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?")
_LARGEST_FLOAT, _ROUNDED_TO_IT = float.fromhex("0x1.fffffep127"), float.fromhex("0x1.ffffffp127")
"""The largest float of 32 bits, and the largest double that C++ rounds to it; Python's protobuf makes that one inf."""


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """What binding needs to know of a field, looked up once a message type."""

    name: str
    kind: int
    repeated: bool
    message: Descriptor | None
    enum: Any


class Misfit(Exception):
    """A scalar that does not fit its field. `part`: (start, length) of the faulty part, None for the whole scalar."""

    def __init__(self, code: str, message: str, hint: str | None = None, part: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.part = code, message, hint, part


def convert(info: FieldInfo, value: Scalar) -> Any:
    """Raises Misfit S202 (wrong kind), S203 (out of range), S204 (unknown enum value), S207 (bad string)."""
    return _CONVERT[info.kind](info, value)


def wanted(info: FieldInfo) -> str:
    if info.enum is not None:
        return "one of " + ", ".join(v.name for v in info.enum.values)
    if info.kind in _INT_RANGE:
        return "a whole number" if _INT_RANGE[info.kind][0] else "a whole number of 0 or more"
    return {F.TYPE_BOOL: "true or false", F.TYPE_STRING: "a string", F.TYPE_BYTES: "a string"}.get(
        info.kind, "a number"
    )


def _mismatch(info: FieldInfo, value: Scalar) -> Misfit:
    hint = None
    if value.kind == "string" and info.kind not in (F.TYPE_STRING, F.TYPE_BYTES):
        hint = f"write `{info.name}: {value.text[1:-1]}` without quotes"
    elif info.kind in _INT_RANGE and _WHOLE.fullmatch(value.text) and float(value.text).is_integer():
        hint = f"write `{info.name}: {float(value.text):.0f}`"
    elif info.kind == F.TYPE_BOOL and value.text.lower() in _MEANT:
        hint = f"write `{info.name}: {_MEANT[value.text.lower()]}`"
    elif value.kind != "string" and info.kind in (F.TYPE_STRING, F.TYPE_BYTES):
        hint = f'write `{info.name}: "{value.text}"`'
    return Misfit("S202", f'"{info.name}" is {wanted(info)}, not {value.text[:60]}', hint)


def _integer(info: FieldInfo, value: Scalar) -> int:
    negative, digits = value.text.startswith("-"), value.text.lstrip("-")
    low, high = _INT_RANGE.get(info.kind, (-(2**31), 2**31 - 1))
    if value.kind != "number" or not _INTEGER.fullmatch(digits):
        raise _mismatch(info, value)
    if len(digits.lstrip("0xX")) > 40:
        raise Misfit("S203", f'"{info.name}" is out of range: {digits[:20]}…', f"the range is {low} to {high}")
    number = -_whole(digits) if negative else _whole(digits)
    if not low <= number <= high or (negative and low == 0):
        raise Misfit("S203", f'"{info.name}" is out of range: {value.text}', f"the range is {low} to {high}")
    return number


def _float(info: FieldInfo, value: Scalar) -> float:
    sign, body = (-1.0, value.text[1:]) if value.text.startswith("-") else (1.0, value.text)
    if value.kind == "name" and body.lower() in _WORD_FLOATS:
        return sign * _WORD_FLOATS[body.lower()]
    if value.kind != "number" or not _DECIMAL.fullmatch(body):
        raise _mismatch(info, value)
    number = sign * float(body.rstrip("fF"))
    if info.kind == F.TYPE_FLOAT and abs(number) > _LARGEST_FLOAT:
        return math.copysign(_LARGEST_FLOAT if abs(number) <= _ROUNDED_TO_IT else math.inf, number)
    return number


def _whole(digits: str) -> int:
    """Decimal, octal (a leading 0) or hexadecimal digits."""
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    return int(digits, base)


def _bool(info: FieldInfo, value: Scalar) -> bool:
    if value.kind == "name" and value.text in _BOOLS:
        return _BOOLS[value.text]
    digits = value.text
    if value.kind == "number" and _INTEGER.fullmatch(digits) and len(digits.lstrip("0xX")) < 9 and _whole(digits) < 2:
        return _whole(digits) == 1
    raise _mismatch(info, value)


_QUOTED_TYPE = (
    "`layers` is the format before 2015, with types like CONVOLUTION and inputs as `input:` and `input_dim:`; for "
    "quoted types and Input layers write `layer { … }` for all layers"
)

_RETIRED = {"LRN_MAP": "Caffe has replaced it: LRN with lrn_param { norm_region: WITHIN_CHANNEL }"}
"""Values of enums that Caffe once had and has given up → what to write."""


@cache
def _values_of(enum: Any) -> dict[str, int]:
    """Name → number. Protobuf's own table fails on a text that is not UTF-8."""
    return {value.name: value.number for value in enum.values}


def _enum(info: FieldInfo, value: Scalar) -> int:
    by_name = _values_of(info.enum)
    if value.kind == "string" and value.text[1:-1] in by_name:
        raise _mismatch(info, value)
    if value.kind == "name" and value.text in by_name:
        return by_name[value.text]
    if value.kind == "number":
        number = _integer(info, value)
        if number in by_name.values():
            return number
    if (fork := FORK_OF_VALUE.get(value.text)) is not None:
        hint = f"{fork} has it, a fork of Caffe; Caffe itself does not, nor does netc"
        raise Misfit("S204", f'"{info.name}" has no value {value.text}', hint)
    if info.enum.name == "LayerType" and value.kind == "string":
        raise Misfit("S204", f'"{info.name}" has no value {value.text[:60]}', _QUOTED_TYPE)
    raise Misfit(
        "S204",
        f'"{info.name}" has no value {value.text[:60]}{did_you_mean(value.text.strip(chr(34)), by_name)}',
        _RETIRED.get(value.text) or (f"it is {wanted(info)}" if len(by_name) <= 12 else None),
    )


_ESCAPE = re.compile(
    rb"\\(?:([abfnrtv\\?'\"])|([0-7]{1,3})|x([0-9a-fA-F]{1,2})"
    rb"|u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(00[01][0-9a-fA-F]{5})|(.|$))",
    re.DOTALL,
)
_PAIR = re.compile(r"\\.", re.DOTALL)
_SLASHES = 'write "\\\\" for a backslash, or "/" between folders'
_SIMPLE = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_LITERAL = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)


def _string(info: FieldInfo, value: Scalar) -> str | bytes:
    if value.kind != "string":
        raise _mismatch(info, value)
    if "\\" not in value.text and '" ' not in value.text and "' " not in value.text:
        text = value.text[1:-1]
        if info.kind == F.TYPE_STRING and text.isascii():
            return text
    try:
        raw = b"".join(_unescape(m.group()[1:-1]) for m in _LITERAL.finditer(value.text))
    except _BadEscape as bad:
        escape = str(bad)
        start = next((m.start() for m in _PAIR.finditer(value.text) if m.group() == escape[:2]), 0)
        raise Misfit("S207", f"unknown escape {escape} in a string", _SLASHES, (start, len(escape))) from None
    if info.kind == F.TYPE_BYTES:
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Misfit("S207", f'"{info.name}" is not valid UTF-8', "save the file as UTF-8") from None


class _BadEscape(Exception):
    """The escape, as written."""


def _unescape(body: str) -> bytes:
    raw = body.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(_escape, raw) if b"\\" in raw else raw


def _escape(match: re.Match[bytes]) -> bytes:
    simple, octal, hexa, high, low, short, long, bad = match.groups()
    if simple is not None:
        return _SIMPLE.get(simple, simple)
    if octal is not None:
        return bytes([int(octal, 8) & 255])
    if hexa is not None:
        return bytes([int(hexa, 16)])
    if bad is not None:
        raise _BadEscape(match.group().decode("utf-8", "replace"))
    code = int(short or long or high, 16)
    if low is not None:  # a pair of UTF-16
        code = 0x10000 + ((code - 0xD800) << 10) + int(low, 16) - 0xDC00
    # C++ leaves a number above Unicode's last as it is written
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else match.group()


_CONVERT: dict[int, Callable[[FieldInfo, Scalar], Any]] = {
    **dict.fromkeys(_INT_RANGE, _integer),
    F.TYPE_FLOAT: _float,
    F.TYPE_DOUBLE: _float,
    F.TYPE_BOOL: _bool,
    F.TYPE_ENUM: _enum,
    F.TYPE_STRING: _string,
    F.TYPE_BYTES: _string,
}
