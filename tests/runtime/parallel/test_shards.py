"""Which positions and units belong to whom, and the tree by which gradients are summed."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from netc.runtime.parallel.group import Group
from netc.runtime.parallel.shards import WHOLE, Shard, Span, block, covering, merges, positions, units
from netc.runtime.parallel.sums import Sum, finish


def test_shards_are_the_batch_in_order_and_differ_by_one_record_at_most() -> None:
    for size, count in ((12, 4), (13, 4), (7, 7), (5, 2)):
        parts = [Shard(index, count).of(size) for index in range(count)]
        assert [position for part in parts for position in part] == list(range(size))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_positions_of_a_shard_and_of_a_short_last_batch() -> None:
    assert positions(3, 8) == range(24, 32)
    assert positions(3, 8, shard=Shard(1, 4)) == range(26, 28)
    assert positions(3, 8, stop=29) == range(24, 29)
    assert [positions(3, 8, 29, Shard(index, 2)) for index in (0, 1)] == [range(24, 26), range(26, 29)]


def test_units_are_in_the_order_of_what_they_read() -> None:
    assert [(unit.k, unit.shard.index) for unit in units(2, 2, 3)] == [(4, 0), (4, 1), (4, 2), (5, 0), (5, 1), (5, 2)]
    assert units(7, 1, 1)[0].shard == WHOLE


@pytest.mark.parametrize("count", range(1, 18))
def test_each_block_is_covered_once_by_nodes_of_the_tree(count: int) -> None:
    for size in range(1, count + 1):
        blocks = [block(count, rank, size) for rank in range(size)]
        assert [unit for part in blocks for unit in part] == list(range(count))
        spans = [span for part in blocks for span in covering(part, count)]
        assert [unit for span in spans for unit in range(span.first, span.end)] == list(range(count))


def test_neighbours_merge_only_as_halves_of_a_node() -> None:
    assert merges(Span(0, 1), Span(1, 2), 6)
    assert merges(Span(0, 4), Span(4, 6), 6)
    assert not merges(Span(1, 2), Span(2, 3), 6)
    assert not merges(Span(2, 4), Span(4, 6), 6)


def terms(unit: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(unit)
    return [torch.randn(7, 3, generator=generator), torch.randn(11, generator=generator)]


def by_the_tree(first: int, end: int) -> list[Tensor]:
    """The definition: a node is the sum of its halves."""
    if end - first == 1:
        return terms(first)
    middle = Span(first, end).middle
    return [a + b for a, b in zip(by_the_tree(first, middle), by_the_tree(middle, end), strict=True)]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 12])
def test_one_process_sums_by_the_tree(count: int) -> None:
    total = Sum(count)
    for unit in range(count):
        total.add(unit, terms(unit))
    assert all(map(torch.equal, finish(total, Group()), by_the_tree(0, count)))


def test_what_several_have_adds_up_to_the_same_bits() -> None:
    random.seed(1)
    for _ in range(40):
        count = random.randint(1, 12)
        size = random.randint(1, count)
        whole = Sum(count)
        for rank in range(size):
            mine = Sum(count)
            for unit in block(count, rank, size):
                mine.add(unit, terms(unit))
            assert [span for span, _ in mine.parts] == covering(block(count, rank, size), count)
            for span, part in mine.parts:
                whole.add_part(span, part)
        ((_, found),) = whole.parts
        assert all(map(torch.equal, found, by_the_tree(0, count)))
