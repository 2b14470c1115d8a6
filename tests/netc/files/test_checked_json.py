"""JSON that somebody else wrote: bounds, types by a small schema, and errors that name the place."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from netc.files.checked_json import MAX_DEPTH, Form, Record, check, parse

HOSTILE = {
    "100,000 deep": "[" * 100_000,
    "closed, 100,000 deep": "[" * 100_000 + "]" * 100_000,
    "tables, 500 deep": '{"a":' * 500 + "1" + "}" * 500,
    "a number of 5,000 digits": "1" * 5000,
    "a negative number of 5,000 digits": '{"a": -' + "1" * 5000 + "}",
    "one of 400 digits": "[" + "9" * 400 + "]",
    "beyond 64 bits": str(1 << 64),
    "below them": str(-(1 << 63) - 1),
    "beyond a double": "1e999",
    "a fraction of 5,000 digits": "9" * 5000 + ".5",
    "NaN": "NaN",
    "a key twice": '{"a": 1, "b": {"c": 1, "c": 2}}',
    "half a character": r'["\ud800"]',
    "half a character as key": r'{"\udfff": 1}',
    "not UTF-8": b'"\xff"',
    "nothing": "",
    "two values": "1 2",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert 0 < len(str(caught.value)) < 200


def test_what_is_read() -> None:
    value = {"a": [1, -2.5, True, None, "é", {"b": []}], "whole": (1 << 64) - 1, "least": -(1 << 63)}
    assert parse(json.dumps(value)) == value
    assert parse('"\\udce9"') == "\udce9"  # a byte of a name that is not UTF-8
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"
    assert math.isnan(parse("[NaN]", constants=True)[0])
    deepest: Any = "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH
    assert parse(deepest)
    with pytest.raises(ValueError, match="deep"):
        parse(f"[{deepest}]")


FORM = Record(
    {"name": str, "layers": {str: [str]}},
    {"crop": (None, int), "mean": (None, [float]), "on": bool, "part": Record({"size": int})},
)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({}, None),
        ({"crop": None, "mean": [1, 2.5], "on": False, "part": {"size": 3, "later": []}, "later": 1}, None),
        ({"name": None}, "name is not a text"),
        ({"layers": {"conv": ["a", 3]}}, r"layers.conv\[1\] is not a text"),
        ({"layers": []}, "layers is not a table"),
        ({"crop": True}, "crop is not null or a whole number"),
        ({"crop": 1.0}, "crop is not null or a whole number"),
        ({"mean": 3}, "mean is not a list"),
        ({"mean": [True]}, r"mean\[0\] is not a number"),
        ({"on": 1}, "on is not true or false"),
        ({"part": {}}, 'part has no "size"'),
    ],
)
def test_types(change: dict[str, Any], reason: str | None) -> None:
    _holds({"name": "a", "layers": {}} | change, FORM, reason)


def test_a_value_that_is_no_table() -> None:
    _holds([], FORM, "it is not a table")
    _holds({}, FORM, 'it has no "name"')


def _holds(value: Any, form: Form, reason: str | None) -> None:
    if reason is None:
        check(value, form)
        return
    with pytest.raises(ValueError, match=reason):
        check(value, form)
