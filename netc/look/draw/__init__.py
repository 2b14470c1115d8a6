"""Pictures of nets: `picture` makes boxes and wires of a net, `FORMATS` draws them. No program but netc is needed."""

from __future__ import annotations

from collections.abc import Callable

from netc.look.draw.dot import dot, mermaid
from netc.look.draw.picture import Picture, picture
from netc.look.draw.svg import html, svg

__all__ = ["ENDINGS", "FORMATS", "Picture", "picture"]

FORMATS: dict[str, Callable[[Picture, str], str]] = {"svg": svg, "html": html, "dot": dot, "mermaid": mermaid}
ENDINGS = {".svg": "svg", ".html": "html", ".htm": "html", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid"}
"""File ending → format."""
