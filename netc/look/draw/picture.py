"""A net as boxes and wires: what every format draws.

    picture(layers, graph, phase) -> Picture

A box is a layer together with those that work in place on its top; Split layers are no boxes, their wires fork instead.
The graph, which knows shapes and parameters, may be None: a net whose data are not here can still be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from netc.graph.ir import Graph, Node
from netc.layers.base import Shape, count
from netc.look.draw.words import kind_of, settings_of
from netc.prototxt.draft import Layers


@dataclass(slots=True)
class Part:
    """A layer of a box. `params`: the values it owns."""

    name: str
    type: str
    settings: str
    params: int


@dataclass(slots=True)
class Box:
    """`tops`: (blob, shape or None) in order; `place`: "file:line" of the first part."""

    parts: list[Part]
    kind: str
    place: str
    tops: list[tuple[str, Shape | None]] = field(default_factory=list)

    @property
    def params(self) -> int:
        return sum(part.params for part in self.parts)


@dataclass(frozen=True, slots=True)
class Wire:
    """From top `port` of box `source` to box `target`."""

    source: int
    port: int
    target: int


@dataclass(slots=True)
class Picture:
    name: str
    phase: str
    boxes: list[Box]
    wires: list[Wire]
    params: int | None = None
    """Of the whole net; None where it is not known."""

    def ports(self) -> set[tuple[int, int]]:
        """(box, top) of every top that something reads."""
        return {(wire.source, wire.port) for wire in self.wires}


def picture(layers: Layers, graph: Graph | None, phase: str) -> Picture:
    """Of the layers of one phase, splits not inserted, and the graph compiled from them."""
    nodes: Sequence[Node | None] = [None] * len(layers.params)
    if graph is not None:
        nodes = [node for node in graph.nodes if node.type != "Split"]
    own = _own(graph)
    made = Picture(layers.draft.param.name, phase, [], [], None if graph is None else sum(own.values()))
    writer: dict[str, tuple[int, int]] = {}
    for layer, origin, node in zip(layers.params, layers.origins, nodes, strict=True):
        part = Part(layer.name, layer.type, settings_of(layer), own.get(id(node), 0))
        if _joins(layer, writer):
            box = made.boxes[writer[layer.top[0]][0]]
            box.parts.append(part)
            if node is not None:
                box.tops[writer[layer.top[0]][1]] = (layer.top[0], node.top_shapes[0])
            continue
        here = len(made.boxes)
        shapes: Sequence[Shape | None] = node.top_shapes if node is not None else [None] * len(layer.top)
        box = Box([part], kind_of(layer.type), str(origin.start).rpartition(":")[0], list(zip(layer.top, shapes)))
        made.boxes.append(box)
        made.wires += [Wire(*writer[blob], here) for blob in layer.bottom if blob in writer]
        writer.update((blob, (here, port)) for port, blob in enumerate(layer.top))
    return made


def _own(graph: Graph | None) -> dict[int, int]:
    """Parameters that each node owns, by the node's identity."""
    found: dict[int, int] = {}
    for node, _, ref in graph.own_params() if graph is not None else ():
        found[id(node)] = found.get(id(node), 0) + count(ref.blob.shape)
    return found


def _joins(layer: Any, writer: dict[str, tuple[int, int]]) -> bool:
    """Whether a layer works in place and so belongs to the box above it."""
    return len(layer.top) == 1 and list(layer.bottom) == list(layer.top) and layer.top[0] in writer
