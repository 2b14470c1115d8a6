"""Intervals and paired tests against their definitions."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from netc.runtime.evaluate.statistics import Z, difference, mcnemar, wilson


@pytest.mark.parametrize("wrong, images", [(0, 10), (3, 10), (71, 250), (250, 250), (1, 1), (49, 50_000)])
def test_the_ends_of_the_interval_are_the_rates_that_are_just_not_refuted(wrong: int, images: int) -> None:
    """Wilson's interval: the rates p with |wrong / images - p| = Z · sqrt(p (1 - p) / images)."""
    for end in wilson(wrong, images):
        distance = abs(wrong / images - end)
        assert distance == pytest.approx(Z * math.sqrt(end * (1 - end) / images), abs=1e-12)


def test_no_images_say_nothing() -> None:
    assert wilson(0, 0) == (0, 1)


def test_the_quantile() -> None:
    assert 0.5 * (1 + math.erf(Z / math.sqrt(2))) == pytest.approx(0.975, abs=1e-15)


@pytest.mark.parametrize("first, second", [(0, 0), (1, 0), (5, 5), (3, 9), (12, 2)])
def test_mcnemar_counts_tosses_of_a_coin(first: int, second: int) -> None:
    """By going through all outcomes: as far from the middle as what was found, or farther."""
    count = first + second
    far = [
        sum(tosses) for tosses in product((0, 1), repeat=count) if abs(2 * sum(tosses) - count) >= abs(first - second)
    ]
    assert mcnemar(first, second).p == pytest.approx(len(far) / 2**count)


def test_mcnemar_of_many() -> None:
    """1,000 to 1,100, by the normal distribution with its correction for whole numbers."""
    z = (100 - 1) / math.sqrt(2100)
    assert mcnemar(1000, 1100).p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)


def test_a_paired_difference_is_covered() -> None:
    """In 95 % of draws of 500 images the interval has the true difference, rare and frequent ones, within a point."""
    draws = np.random.default_rng(0)
    for first, second in ((0.002, 0.002), (0.01, 0.03), (0.1, 0.05), (0.3, 0.3)):
        counts = draws.multinomial(500, [first, second, 1 - first - second], 4000)
        ends = np.array([difference(more, less, 500)[1] for more, less, _ in counts])
        covered = ((ends[:, 0] <= first - second) & (first - second <= ends[:, 1])).mean()
        assert 0.94 <= covered <= 1.0, (first, second, covered)
        assert covered < 0.96 or first < 0.005


def test_a_paired_difference_and_its_ends() -> None:
    mean, (low, high) = difference(0, 0, 500)
    assert (mean, low) == (0, -high)
    assert high == pytest.approx(Z * math.sqrt(2) / 502)
    assert difference(3, 10, 100)[0] == pytest.approx(-0.07)
    assert difference(20, 0, 20)[1].high == 1
