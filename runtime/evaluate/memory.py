"""How many images a net may take at once, so that what it holds stays bounded.

The bound is a constant, not what is free: the parts that a batch is divided into decide the last bits of its scores.
"""

from __future__ import annotations

from netc.graph.ir import Graph
from netc.layers.base import count

FLOAT = 4
LIMIT = 1 << 28
"""Bytes of blobs that exist at a time; one image may need more."""

MOST = 64


def peak(graph: Graph) -> int:
    """Bytes of blobs that exist at a time while a net runs, at most, as it lets go of each behind its last reader."""
    root = _roots(graph)
    last = {root[blob]: index for index, node in enumerate(graph.nodes) for blob in (*node.tops, *node.bottoms)}
    sizes: dict[str, int] = {}
    most = 0
    for index, node in enumerate(graph.nodes):
        sizes.update((root[top], count(shape)) for top, shape in zip(node.tops, node.top_shapes, strict=True))
        most = max(most, sum(sizes.values()))
        for blob in (*node.tops, *node.bottoms):
            if last[root[blob]] == index and blob not in graph.outputs:
                sizes.pop(root[blob], None)
    return FLOAT * most


def _roots(graph: Graph) -> dict[str, str]:
    """Blob → the one whose memory it is (Split)."""
    root: dict[str, str] = {}
    for node in graph.nodes:
        source = node.bottoms[0] if node.layer.copies_bottom else None
        root.update((top, root[source] if source else top) for top in node.tops)
    return root


def at_once(graph: Graph, image: str) -> int:
    """How many images to give such a net at once."""
    each = max(1, peak(graph) // graph.shapes[image][0])
    return max(1, min(MOST, LIMIT // each))
