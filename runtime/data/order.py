"""Which record stands at each position of the endless sequence that a feed reads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netc.runtime.net import rand

Permutation = NDArray[np.int64]


class Sequence(Protocol):
    def __getitem__(self, position: int) -> int:
        """The record at a position, 0 ≤ position."""
        ...


class Order:
    """Every record once an epoch: in their own order or, with `epoch_order` (epoch → permutation), in a new one each.

    `first`: the position that the sequence begins with. Threads may ask at the same time.
    """

    def __init__(self, records: int, epoch_order: Callable[[int], Permutation] | None = None, first: int = 0) -> None:
        self._records, self._make, self._first = records, epoch_order, first
        self._epochs: dict[int, Permutation] = {}
        self._lock = threading.Lock()

    def __getitem__(self, position: int) -> int:
        epoch, offset = divmod(position + self._first, self._records)
        return int(self._epoch(epoch, self._make)[offset]) if self._make else offset

    def _epoch(self, epoch: int, make: Callable[[int], Permutation]) -> Permutation:
        """The last two stay in memory: batches are prepared across the boundary."""
        with self._lock:
            if epoch not in self._epochs:
                for old in sorted(self._epochs)[:-1]:
                    del self._epochs[old]
                self._epochs[epoch] = make(epoch)
            return self._epochs[epoch]


def shuffled(records: int, seed: int) -> Callable[[int], Permutation]:
    """The orders of a shuffled source: a pure function of the seed, the epoch and the number of records, nothing else,
    so that sources whose records belong together (images and label images) stay together."""
    return lambda epoch: rand.permutation(records, seed, "shuffle", epoch)
