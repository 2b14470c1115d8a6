"""The executable specification of ir.Graph: what every graph satisfies, whichever stage or pass made it."""

from __future__ import annotations

from netc.graph.ir import AUTOMATIC, Graph, Node


def verify(graph: Graph) -> Graph:
    """Check the graph's own consistency and return it. A failure is a fault of netc, not of the user's file."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, node in enumerate(graph.nodes):
        _verify_node(graph, index, node)
        for blob, shape in zip(node.bottoms, node.bottom_shapes, strict=True):
            _require(shapes.get(blob) == shape, node, "a bottom has the shape that its writer gave it")
        shapes.update(zip(node.tops, node.top_shapes, strict=True))
    shapes.pop(AUTOMATIC, None)
    if shapes != graph.shapes:
        raise AssertionError("netc: the graph's blob shapes are not those of its nodes")
    return graph


def _verify_node(graph: Graph, index: int, node: Node) -> None:
    _require(len(node.loss_weights) == len(node.tops), node, "one loss weight for each top")
    _require(len(node.backward) == len(node.bottoms), node, "one backward flag for each bottom")
    _require([ref.blob for ref in node.params] == node.layer.blobs, node, "parameters are the layer's blobs")
    for position, ref in enumerate(node.params):
        owner, at = ref.owner
        _require((owner, at) <= (index, position), node, "a shared parameter is owned by an earlier layer")
        _require(graph.nodes[owner].params[at].owner == ref.owner, node, "the owner owns itself")


def _require(condition: bool, node: Node, what: str) -> None:
    if not condition:
        raise AssertionError(f"netc: layer {node.name} of the built graph: {what}")
