"""Pictures of nets: `picture` makes boxes and wires of a net, `FORMATS` draws them. No program but netc is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netc.graph.ir import Graph
from netc.layers.base import Shape
from netc.look.draw.dot import dot, mermaid
from netc.look.draw.picture import Picture, of_graph, picture
from netc.look.draw.svg import html, svg

__all__ = ["ENDINGS", "FORMATS", "Picture", "picture", "svg_of"]

FORMATS: dict[str, Callable[[Picture, str], str]] = {"svg": svg, "html": html, "dot": dot, "mermaid": mermaid}
ENDINGS = {".svg": "svg", ".html": "html", ".htm": "html", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid"}
"""File ending → format."""


def svg_of(graph: Graph, shapes: Mapping[str, Shape] | None = None) -> str:
    """The picture of a compiled net; `shapes`: of blobs that have others than it was compiled for."""
    return svg(of_graph(graph, shapes or {}), "")
