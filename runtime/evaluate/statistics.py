"""How sure an error rate is, and whether two of the same images differ."""

from __future__ import annotations

import math
from typing import NamedTuple

Z = 1.959963984540054
"""The normal distribution's quantile of 97.5 %."""


class Interval(NamedTuple):
    low: float
    high: float


def wilson(wrong: int, images: int) -> Interval:
    """The 95 % interval of a rate (Wilson, 1927): of `wrong` errors among `images`, as shares. Of no images it is all
    that can be."""
    if not images:
        return Interval(0.0, 1.0)
    share, spread = wrong / images, Z * Z / images
    middle = share + spread / 2
    reach = Z * math.sqrt(share * (1 - share) / images + spread / images / 4)
    low, high = ((middle - reach) / (1 + spread), (middle + reach) / (1 + spread))
    return Interval(0.0 if wrong == 0 else low, 1.0 if wrong == images else high)


class McNemar(NamedTuple):
    """Images that only the first got wrong, that only the second got wrong, and the probability that chance alone makes
    these two numbers as different."""

    only_first: int
    only_second: int
    p: float


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """The exact test (McNemar, 1947), two-sided: each image on which the two differ is a toss of a fair coin."""
    count, less = only_first + only_second, min(only_first, only_second)
    if not count:
        return McNemar(0, 0, 1.0)
    ways = sum(math.comb(count, wins) for wins in range(less + 1))
    return McNemar(only_first, only_second, min(1.0, 2 * ways / 2**count))


def difference(only_first: int, only_second: int, images: int) -> tuple[float, Interval]:
    """How much more often the first is wrong on the same images, as a share, and its 95 % interval (Bonett and Price,
    2012: a picture is added on each side, so that two that never differ are not taken for equal for certain)."""
    more, less, count = only_first + 1, only_second + 1, images + 2
    middle = (more - less) / count
    reach = Z * math.sqrt(((more + less) / count - middle * middle) / count)
    ends = Interval(max(-1.0, middle - reach), min(1.0, middle + reach))
    return (only_first - only_second) / images, ends
