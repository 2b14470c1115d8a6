"""What values of a model are called: Caffe's names."""

from __future__ import annotations

from netc.graph.ir import Graph

OPSET = 20
AXES = ("batch", "", "height", "width")


def name_of(graph: Graph, blob: str) -> str:
    """A blob's name in the model: its own, but for one that a layer writes over an input, or that is an input which
    nothing reads. No two values of a model have one name."""
    name = blob
    while name in graph.inputs or (name != blob and name in graph.shapes):
        name += "_out"
    return name
