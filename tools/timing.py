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
from typing import NamedTuple, TypeVar

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed netc is compiled once, not at every start
NETC = [sys.executable, "-m", "netc"]


class Run(NamedTuple):
    """A process: seconds, processor seconds (user and system), and its largest resident memory."""

    seconds: float
    cpu: float
    megabytes: float


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


def process(command: list[str]) -> Run:
    """wait4 gives the memory of this child alone (this process is small, which counts: an exec inherits the peak)."""
    start = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        actions = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), stream) for stream in (1, 2)]
        pid = os.posix_spawnp(command[0], command, ENVIRONMENT, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed: {os.waitstatus_to_exitcode(status)}")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)
