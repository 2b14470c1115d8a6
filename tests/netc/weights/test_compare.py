"""Differences of two files, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from netc.weights.compare import compare, facts_that_differ
from netc.weights.contents import Contents, Held, Part
from netc.weights.pieces import PIECE


def file(parts, **more):
    made = [
        Part(name, "", [Held(str(i), np.asarray(array)) for i, array in enumerate(arrays)]) for name, arrays in parts
    ]
    return Contents("x", 0, "test", made, **more)


def pair(a, b, *tolerance):
    (found,) = compare(file([("l", [a])]), file([("l", [b])]), *tolerance)
    return found


def test_equal_values():
    array = np.arange(6, dtype="f4").reshape(2, 3)
    same = pair(array, array.copy())
    assert (same.verdict, same.bits, same.absolute) == ("equal", True, 0)
    wider = pair(array, array.astype("f8"))
    assert (wider.verdict, wider.bits) == ("equal", False)
    zeros = pair(np.float32([0.0, 1]), np.float32([-0.0, 1]))
    assert (zeros.verdict, zeros.bits) == ("equal", False)


def test_differences():
    found = pair(np.float32([1, 2, -4, 0]), np.float32([1, 2.5, -4.25, 0.125]))
    assert (found.verdict, found.absolute, found.relative, found.beyond) == ("different", 0.5, 1.0, 3)
    assert pair(np.float32([1, 2]), np.float32([1, 2.5]), 0.5).verdict == "within tolerance"
    assert pair(np.float32([1, 2]), np.float32([1, 2.5]), 0.4).verdict == "different"
    assert pair(np.float32([1, 2]), np.float32([1, 2.5]), 0, 0.2).beyond == 0


def test_beyond_the_first_piece():
    a = np.zeros(PIECE + 10, "f4")
    b = a.copy()
    b[-1] = 3
    assert (pair(a, b).absolute, pair(a, b).beyond) == (3, 1)


@pytest.mark.parametrize(
    "a, b, expected",
    [
        ([math.nan, 1], [math.nan, 1], ("equal", 0, 0)),
        ([math.inf, 1], [math.inf, 1], ("equal", 0, 0)),
        ([math.inf, 1], [-math.inf, 1], ("different", math.inf, 1)),
        ([math.nan, 1], [0, 1], ("different", math.inf, 1)),
        ([0, 1], [math.inf, 1], ("different", math.inf, 1)),
    ],
)
def test_values_that_are_not_finite(a, b, expected):
    found = pair(np.float64(a), np.float32(b), 1e9, 0.5)
    assert (found.verdict, found.absolute, found.beyond) == expected


def test_shapes():
    array = np.arange(6, dtype="f4")
    assert pair(array.reshape(1, 1, 2, 3), array.reshape(2, 3)).verdict == "equal"
    assert pair(array.reshape(2, 3), array.reshape(3, 2)).verdict == "other shape, equal values"
    assert pair(array.reshape(2, 3), 1 + array.reshape(3, 2)).verdict == "other shape"
    assert pair(array, array[:5]).verdict == "other shape"
    assert pair(array[:0], array[:0]).verdict == "equal"


def test_layers_and_blobs_that_one_file_has_alone():
    one = np.ones(1)
    a = file([("x", [one, one]), ("old", [one]), ("relu", [])])
    b = file([("new", [one]), ("x", [one])])
    found = [(each.layer, each.blob, each.verdict) for each in compare(a, b)]
    assert found == [("x", "0", "equal"), ("x", "1", "only in A"), ("old", "0", "only in A"), ("new", "0", "only in B")]


def test_of_layers_of_one_name_the_last_counts():
    a = file([("x", [np.ones(1)]), ("x", [np.zeros(1)])])
    a.parts[0].replaced = True
    assert [each.verdict for each in compare(a, file([("x", [np.zeros(1)])]))] == ["equal"]


def test_facts_of_solver_states():
    a, b = file([], facts={"iter": 3, "current_step": 0}), file([], facts={"iter": 4, "current_step": 0})
    assert facts_that_differ(a, b) == {"iter": (3, 4)}
    assert facts_that_differ(a, file([], facts={"card": "x"})) == {}
