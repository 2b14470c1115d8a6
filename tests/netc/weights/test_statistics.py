"""Statistics and hashes against numpy on the whole array, and the documented recipe of the hash."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from netc.weights.pieces import PIECE
from netc.weights.statistics import summarise


def summary(array):
    with ThreadPoolExecutor(1) as helper:
        return summarise(array, helper)


@pytest.mark.parametrize("shift", [0, 1000])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_against_numpy(dtype, shift):
    """More than two pieces; the mean is far from zero in one case, where a sum of squares would lose digits."""
    array = (np.random.default_rng(1).standard_normal((3, PIECE - 5)) + shift).astype(dtype)
    array[1, :1000] = 0
    found, exact = summary(array), array.astype("f8")
    assert (found.count, found.zeros, found.not_finite) == (array.size, np.count_nonzero(array == 0), 0)
    assert (found.least, found.most) == (array.min(), array.max())
    assert found.mean == pytest.approx(exact.mean(), rel=1e-12, abs=1e-12)
    assert found.std == pytest.approx(exact.std(), rel=1e-9)


def test_values_that_are_not_finite_are_counted_and_left_out():
    array = np.array([1, np.nan, -np.inf, 3, np.inf, 0, np.nan], "f4")
    found = summary(array)
    assert (found.nans, found.infinities, found.zeros, found.not_finite) == (2, 2, 1, 4)
    assert (found.least, found.most, found.mean) == (0, 3, pytest.approx(4 / 3))
    nothing = summary(np.full(3, np.nan))
    assert (nothing.mean, nothing.std, nothing.least, nothing.most, nothing.nans) == (None, None, None, None, 3)
    empty = summary(np.zeros((0, 3), "f4"))
    assert (empty.count, empty.mean) == (0, None)


def test_the_hash_is_what_the_documentation_says():
    array = np.random.default_rng(2).random((1, 1, 5, 7))
    recipe = hashlib.sha256(b"5,7\n" + array.astype("<f4").tobytes()).hexdigest()
    assert summary(array).sha256 == recipe
    assert summary(array[0, 0].astype("f4")).sha256 == recipe
    assert summary(np.asfortranarray(array)).sha256 == recipe
    assert summary(array.reshape(7, 5)).sha256 != recipe
    scalar = np.float32(2).reshape(())
    assert summary(scalar).sha256 == hashlib.sha256(b"\n" + scalar.tobytes()).hexdigest()
