"""Two things measured in turn, and the commands that are measured.

The machine may be shared and change its pace: medians of pairs say more than sums.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed netc is compiled once, not at every start
NETC = [sys.executable, "-m", "netc"]

T = TypeVar("T")
Clock = Callable[[], float]


def in_turn(ours: Callable[[], T], theirs: Callable[[], T], pairs: int) -> list[tuple[T, T]]:
    """What `ours` and `theirs` return, `pairs` times. Which of the two goes first alternates."""
    found = []
    for pair in range(pairs):
        if pair % 2:
            mine, other = ours(), theirs()
        else:
            other, mine = theirs(), ours()
        found.append((mine, other))
    return found


def timed(step: Callable[[], object], clock: Clock = time.perf_counter) -> Callable[[], float]:
    """`step`, returning the seconds that it took."""

    def run() -> float:
        start = clock()
        step()
        return clock() - start

    return run


def medians(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The median of ours, that of theirs, and the median of ours / theirs."""
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return ours, theirs, statistics.median(a / b for a, b in pairs)


def spread(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """The smallest and the largest ours / theirs."""
    ratios = [a / b for a, b in pairs]
    return [round(min(ratios), 2), round(max(ratios), 2)]
