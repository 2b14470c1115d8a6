"""Limits on work, in units of this machine's own speed: a slow or a busy machine fails no test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def processor_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def yardstick() -> object:
    """About 0.1 s on the machine on which the limits were set: arithmetic, small objects and fresh memory."""
    table = {number: (number, str(number)) for number in range(100_000)}
    return sum(number for number, _ in table.values()), bytearray(30_000_000)


def unit() -> float:
    """Processor seconds of the yardstick, the slower of two: the first may have met a quiet moment."""
    return max(processor_seconds(yardstick) for _ in range(2))


@contextmanager
def at_most(units: float) -> Iterator[None]:
    """What stands in the block takes no more than this many yardsticks, timed before and after it.

    Limits stand ten times above what is usual: they find work that grows with the square of its input, nothing finer.
    """
    before, start = unit(), time.process_time()
    yield
    spent = time.process_time() - start
    assert spent < units * max(before, unit())
