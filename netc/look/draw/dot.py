"""A picture as Graphviz DOT and as Mermaid, for documents that draw these themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netc.errors import printable
from netc.look.draw.picture import Picture, Wire
from netc.look.draw.svg import COLOURS, box_lines, shape_text

_PLAIN = re.compile(r"[^A-Za-z0-9 _.,:+×α-ω→…-]")


def dot(picture: Picture, title: str = "") -> str:
    """A directed graph; boxes filled by kind, shapes on the edges."""
    return "\n".join(["digraph net {", *_dot(picture, title), "}"]) + "\n"


def _dot(picture: Picture, title: str) -> Iterator[str]:
    yield f"  label={_quoted(title or picture.name)}; labelloc=t;"
    yield '  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=11];'
    yield '  edge [fontname="sans-serif", fontsize=9];'
    for index, box in enumerate(picture.boxes):
        fill, line, _ = COLOURS[box.kind]
        label = "\\n".join(_bare(text) for _, text in box_lines(box))
        yield f'  n{index} [label="{label}", fillcolor="{fill}", color="{line}"];'
    for wire in picture.wires:
        yield f"  n{wire.source} -> n{wire.target} [label={_quoted(_shape(picture, wire))}];"


def _bare(text: str) -> str:
    """Text within DOT's double quotes: a backslash begins an escape there, an ampersand a character's name."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def _quoted(text: str) -> str:
    return f'"{_bare(text)}"'


def mermaid(picture: Picture, title: str = "") -> str:
    """A flowchart from top to bottom."""
    return "\n".join([*_front(title or picture.name), "flowchart TB", *_mermaid(picture)]) + "\n"


def _front(title: str) -> list[str]:
    """The title, in YAML's single quotes, which know no escapes but a doubled quote; no markup in it."""
    plain = printable(title).replace("'", "''").replace("<", "‹").replace(">", "›").replace("&", "+")
    return ["---", f"title: '{plain}'", "---"] if title else []


def _mermaid(picture: Picture) -> Iterator[str]:
    for index, box in enumerate(picture.boxes):
        label = "<br/>".join(_coded(text) for _, text in box_lines(box))
        yield f'  n{index}["{label}"]:::{box.kind}'
    for wire in picture.wires:
        shape = _shape(picture, wire)
        yield f"  n{wire.source} -->{f'|{_coded(shape)}|' if shape else ''} n{wire.target}"
    for kind in sorted({box.kind for box in picture.boxes}):
        fill, line, _ = COLOURS[kind]
        yield f"  classDef {kind} fill:{fill},stroke:{line},color:#1b1f24"


def _coded(text: str) -> str:
    """Every character that Mermaid or HTML could read as markup, as the number that Mermaid takes for it."""
    return _PLAIN.sub(lambda found: f"#{ord(found[0])};", printable(text))


def _shape(picture: Picture, wire: Wire) -> str:
    return shape_text(picture.boxes[wire.source].tops[wire.port][1])
