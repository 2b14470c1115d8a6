"""Whether a graph trains."""

from __future__ import annotations

from netc.graph.ir import Graph

TRAIN, TEST = 0, 1


def trains(graph: Graph) -> bool:
    """A TRAIN net with a loss."""
    return graph.phase == TRAIN and any(any(node.loss_weights) for node in graph.nodes)
