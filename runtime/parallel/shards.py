"""A batch divided into shards by position, and an iteration into units: the forward passes that its gradient sums up.

An iteration is iter_size passes over batches of B records; each batch is divided into S shards, which makes iter_size·S
units, in the order of the positions that they read. What a unit computes depends on nothing but these positions, the
seed and the weights; which process computes it does not matter. Units are dealt out in blocks, in the order of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from netc.errors import NetcError, counted


@dataclass(frozen=True, slots=True)
class Shard:
    """Part number `index` of `count` parts of a batch, which differ by one record where they cannot be equal."""

    index: int = 0
    count: int = 1

    def of(self, size: int) -> range:
        """The positions that are its own in a batch of `size`."""
        return range(self.index * size // self.count, (self.index + 1) * size // self.count)


WHOLE = Shard()
"""A batch that is not divided."""


def positions(k: int, batch: int, stop: int | None = None, shard: Shard = WHOLE) -> range:
    """The positions in the endless sequence of records that a shard of batch number `k` reads; none from `stop` on."""
    whole = range(k * batch, (k + 1) * batch if stop is None else min((k + 1) * batch, stop))
    own = shard.of(len(whole))
    return whole[own.start : own.stop]


class Unit(NamedTuple):
    """One forward pass of an iteration: `shard` of the batch of pass number `k`, counted from the start of training."""

    k: int
    shard: Shard


def units(iteration: int, iter_size: int, shards: int) -> list[Unit]:
    """The units of an iteration, in order."""
    passes = range(iteration * iter_size, (iteration + 1) * iter_size)
    return [Unit(k, Shard(index, shards)) for k in passes for index in range(shards)]


def too_many(processes: int, parts: int) -> NetcError:
    """R661: not every process would have one of the parts of an iteration."""
    message = f"{processes} processes have {counted(parts, 'shard')} of a batch to compute"
    return NetcError("R661", message, None, "start fewer processes, or set more --shards")


def block(count: int, rank: int, size: int) -> range:
    """Which of `count` units a rank of `size` computes."""
    return range(rank * count // size, (rank + 1) * count // size)


class Span(NamedTuple):
    """The units first, …, end - 1, as a node of the tree by which their gradients are summed."""

    first: int
    end: int

    @property
    def middle(self) -> int:
        """Where its second half begins: as many units before it as the largest power of two below their number."""
        return self.first + (1 << (self.end - self.first - 1).bit_length() - 1)


def covering(units: range, count: int) -> list[Span]:
    """The largest nodes of the tree over `count` units that lie within a block, in order."""
    return list(_within(Span(0, count), units)) if units else []


def _within(node: Span, units: range) -> Iterator[Span]:
    if units.start <= node.first and node.end <= units.stop:
        yield node
    elif node.first < units.stop and units.start < node.end:
        yield from _within(Span(node.first, node.middle), units)
        yield from _within(Span(node.middle, node.end), units)


def merges(left: Span, right: Span, count: int) -> bool:
    """Whether two neighbours are the two halves of a node of the tree over `count` units."""
    node = Span(0, count)
    while node.first < left.first or right.end < node.end:
        half = Span(node.first, node.middle) if right.end <= node.middle else Span(node.middle, node.end)
        if not (half.first <= left.first and right.end <= half.end):
            return False
        node = half
    return node.middle == left.end
