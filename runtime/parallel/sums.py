"""Sums of gradients in the order of a fixed tree, whoever has the terms.

A sum of floating-point numbers depends on its order, so the order is fixed: the tree over the units of an iteration
(`shards.Span`). Each process adds up what it has as far as the tree allows without the others (`Sum`); then the
processes exchange these parts, each finishes the sum of its share of the numbers, and all get all of them (`finish`).
IEEE addition is commutative, so the result has the same bits for any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netc.runtime.parallel.group import Group
from netc.runtime.parallel.shards import Span, block, covering, merges

Terms = list[Tensor]
"""One tensor for each parameter."""

BUCKET = 1 << 23
"""Numbers exchanged at a time; the sum needs as many once more for each part that is exchanged."""


class Sum:
    """What a process has of the sum over `count` units: units are added in order."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.parts: list[tuple[Span, Terms]] = []

    def add(self, unit: int, terms: Terms) -> None:
        """Add the terms of a unit, which are the sum's from now on."""
        self.add_part(Span(unit, unit + 1), terms)

    def add_part(self, span: Span, terms: Terms) -> None:
        """Add what was summed up over the units of `span` already."""
        self.parts.append((span, terms))
        while len(self.parts) > 1 and merges(self.parts[-2][0], self.parts[-1][0], self.count):
            (left, total), (right, other) = self.parts[-2:]
            if total:  # no parameter may be learnt at all
                torch._foreach_add_(total, other)
            self.parts[-2:] = [(Span(left.first, right.end), total)]


@torch.no_grad()
def finish(mine: Sum, group: Group) -> Terms:
    """The whole sum, the same on every rank of `group`."""
    if group.size == 1 or not mine.parts[0][1]:
        return mine.parts[0][1]
    spans = [covering(block(mine.count, rank, group.size), mine.count) for rank in range(group.size)]
    terms = [part for _, part in mine.parts]
    for members in _buckets(terms[0]):
        _exchange([[part[i] for i in members] for part in terms], spans, mine.count, group)
    return terms[0]


def _buckets(like: Terms) -> list[list[int]]:
    """Neighbouring parameters, about `BUCKET` numbers together."""
    found: list[list[int]] = [[]]
    room = BUCKET
    for index, tensor in enumerate(like):
        if found[-1] and tensor.numel() > room:
            found.append([])
            room = BUCKET
        found[-1].append(index)
        room -= tensor.numel()
    return found


def _exchange(parts: Sequence[Terms], spans: list[list[Span]], count: int, group: Group) -> None:
    """Sum up one bucket over all ranks, into the tensors of the first part."""
    flat = torch.stack([torch.cat([tensor.reshape(-1) for tensor in part]) for part in parts])
    length = flat.shape[1]
    share = -(-length // group.size)
    flat = torch.nn.functional.pad(flat, (0, share * group.size - length))
    outgoing = flat.view(len(parts), group.size, share).transpose(0, 1).contiguous()  # rank → its share of each part
    total = Sum(count)
    for span, row in zip((s for of in spans for s in of), group.all_to_all(outgoing, [len(s) for s in spans])):
        total.add_part(span, [row])
    whole = group.all_gather(total.parts[0][1][0])[:length]
    at = 0
    for tensor in parts[0]:
        tensor.copy_(whole[at : at + tensor.numel()].view_as(tensor))
        at += tensor.numel()
