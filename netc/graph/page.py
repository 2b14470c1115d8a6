"""A net at a prompt: a line a layer with its type, the shapes of its tops and its number of parameters; a page at most.

text(title, rows) -> str              what `repr` gives
html(title, rows, picture) -> str     the same as a table, with a picture: what a notebook shows
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from netc.errors import counted, printable
from netc.graph.filter import NAMES
from netc.layers.base import Shape, format_shape

LINES = 40
"""Of layers, at most: the first and the last ones of a longer net."""

MOST_TOPS = 4
"""That are named in a row."""

MOST_LETTERS = 48
"""Of a name in the text."""


class Row(NamedTuple):
    """A layer: `tops` as text, `params` the number of values it holds."""

    name: str
    type: str
    tops: str
    params: int


def row(name: str, type: str, tops: Sequence[str], shapes: Sequence[Shape], params: int) -> Row:
    """The row of a layer: its tops by name, with their shapes."""
    named = [f"{_short(top)} {format_shape(shape)}" for top, shape in zip(tops, shapes)]
    if len(named) > MOST_TOPS:
        named = [*named[: MOST_TOPS - 1], f"… {counted(len(named) - MOST_TOPS + 1, 'more top')}"]
    return Row(_short(name), _short(type), ", ".join(named), params)


def _short(name: str) -> str:
    """A name on one line of a terminal."""
    shown = printable(name)
    return shown if len(shown) <= MOST_LETTERS else f"{shown[: MOST_LETTERS - 1]}…"


def title(name: str, phase: int, layers: int, params: int) -> str:
    """ "mini_vgg_A", TEST: 24 layers, 1,000 parameters."""
    return f'"{_short(name)}", {NAMES[phase]}: {counted(layers, "layer")}, {counted(params, "parameter")}'


def text(title: str, rows: Sequence[Row]) -> str:
    """The title and the rows under one another."""
    shown = list(rows) if len(rows) <= LINES else [*rows[: LINES // 2], None, *rows[-LINES // 2 :]]
    names = max((len(each.name) for each in shown if each), default=0)
    types = max((len(each.type) for each in shown if each), default=0)
    return "\n".join([f"<{title}>", *[_line(each, names, types) if each else "…" for each in shown]])


def _line(row: Row, names: int, types: int) -> str:
    params = f"; {counted(row.params, 'parameter')}" if row.params else ""
    return f"{row.name:<{names}}  {row.type:<{types}}  {row.tops}{params}".rstrip()


def html(title: str, rows: Sequence[Row], picture: str) -> str:
    """A table, and a picture (SVG) as an image of its own: its style is not the page's. Both scroll; the picture of a
    long net has to be unfolded."""
    from base64 import b64encode
    from html import escape

    unfolded = ' open="open"' if len(rows) <= LINES else ""
    body = "".join(
        _cells([each.name, each.type, each.tops, f"{each.params:,}" if each.params else ""]) for each in rows
    )
    source = f"data:image/svg+xml;base64,{b64encode(picture.encode('utf-8', 'backslashreplace')).decode()}"
    return (
        f"<div><b>{escape(title)}</b>"
        f'<div style="max-height:30em;overflow:auto"><table>{_cells(_HEAD, "th")}{body}</table></div>'
        f'<details{unfolded}><summary>picture</summary><div style="max-height:50em;overflow:auto">'
        f'<img alt="{escape(title)}" style="max-width:none" src="{source}" /></div></details></div>'
    )


_HEAD = ("layer", "type", "tops", "parameters")


def _cells(texts: Sequence[str], tag: str = "td") -> str:
    from html import escape

    return "<tr>" + "".join(f'<{tag} style="text-align:left">{escape(text)}</{tag}>' for text in texts) + "</tr>"
