"""Weights that start at 0 and stay there, because no gradient can pass.

A layer without weight_filler starts at 0. Alone that does no harm, and at the end of a net it is usual; two of them in
a row, or one in front of a ReLU, never get a gradient. Which layers those are is worked out: what is certainly 0 goes
down the net, what gradient is left comes up, weights that get one are 0 no more, and so on until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from netc.check.advice.flow import trains
from netc.errors import counted
from netc.errors.remark import Advice, listed
from netc.graph.ir import Graph, Node

MOST_ROUNDS = 100


def stuck(graph: Graph) -> Iterator[Advice]:
    """Layers that would never leave their zeros."""
    if not trains(graph):
        return
    state = _State(graph)
    settled = state.settle()
    found = [node for index, node in enumerate(graph.nodes) if index in state.zero and state.asked(node, 0)]
    if settled and found:
        starts = "starts at 0 and stays there" if len(found) == 1 else "start at 0 and stay there"
        yield Advice(
            "A811",
            f"the weights of {counted(len(found), 'layer')} ({listed([node.name for node in found])}) "
            f"{starts}: no gradient reaches them through each other's zeros",
            found[0].layer.origin.place(f"{found[0].layer.param_field}.weight_filler"),
            'a layer without weight_filler is filled with 0: add weight_filler { type: "msra" }, or start from weights '
            "(netc train --weights)",
        )


@dataclass(slots=True)
class _State:
    """`zero`: nodes whose weights are 0; `fresh`: those whose bias is not 0, from the start or by learning."""

    graph: Graph
    zero: set[int] = field(default_factory=set)
    fresh: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for index, node in enumerate(self.graph.nodes):
            if node.layer.linear and _is_zero(node, 0):
                self.zero.add(index)
            if len(node.params) > 1 and not _is_zero(node, 1):
                self.fresh.add(index)

    def asked(self, node: Node, position: int) -> bool:
        """Whether a parameter is meant to learn here, and shares nobody's values."""
        return position < len(node.params) and node.params[position].learnable

    def settle(self) -> bool:
        """Go on until nothing changes; False where that took more rounds than any sensible net needs."""
        return any(not self.zero or not self._learn(self._zero_blobs()) for _ in range(MOST_ROUNDS))

    def _zero_blobs(self) -> list[bool]:
        """For each node, whether bottom 0 (for joins: all bottoms) holds nothing but zeros."""
        zeros: dict[str, bool] = {}
        found = []
        for index, node in enumerate(self.graph.nodes):
            below = bool(node.bottoms) and all(zeros.get(blob, False) for blob in node.bottoms)
            found.append(below)
            keeps = node.layer.keeps_zeros or node.layer.linear
            nothing = (below and keeps) or index in self.zero
            zeros.update((top, nothing and index not in self.fresh) for top in node.tops)
        return found

    def _learn(self, below: list[bool]) -> bool:
        """Take what a gradient reaches out of the zeros; whether that changed anything."""
        alive: set[str] = set()
        before = (len(self.zero), len(self.fresh))
        for index in range(len(self.graph.nodes) - 1, -1, -1):
            node = self.graph.nodes[index]
            arrives = any(node.loss_weights) or any(top in alive for top in node.tops)
            alive.difference_update(node.tops)
            if not arrives:
                continue
            passes = not (index in self.zero or (below[index] and node.layer.dead_at_zero()))
            alive.update(node.bottoms if passes else ())
            if self.asked(node, 0) and not below[index]:
                self.zero.discard(index)
            if self.asked(node, 1):
                self.fresh.add(index)
        return before != (len(self.zero), len(self.fresh))


def _is_zero(node: Node, position: int) -> bool:
    """Whether a parameter starts at 0 (a shared one starts as its owner does, which is not looked up)."""
    ref = node.params[position] if position < len(node.params) else None
    if ref is None or ref.blob.frozen:
        return True
    filler = ref.blob.filler
    return filler is None or (filler.type == "constant" and filler.value == 0)
