"""A net as boxes and wires: what every format draws.

    picture(layers, graph, phase) -> Picture

A box is a layer together with those that work in place on its top; Split layers are not boxes, their wires fork.
The graph, which knows shapes and parameters, may be None: a net whose data are not here can still be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netc.graph.edges import NOWHERE, Top, resolve
from netc.graph.filter import NAMES, Layers
from netc.graph.ir import Graph, Node
from netc.layers import registry
from netc.layers.base import Layer, Shape, count
from netc.look.draw.words import kind_of, settings_of
from netc.prototxt.draft import Draft


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
    copies = {index for index, one in enumerate(layers.params) if registry().get(one.type, Layer).copies_bottom}
    reads, _ = resolve(((one.bottom[:], one.top[:]) for one in layers.params), copies)
    drawn = [index for index in range(len(layers.params)) if index not in copies]
    nodes: Sequence[Node | None] = [None] * len(drawn)
    if graph is not None:
        nodes = [node for node in graph.nodes if not node.layer.copies_bottom]
    own = _own(graph)
    made = Picture(layers.draft.param.name, phase, [], [], None if graph is None else sum(own.values()))
    port_of: dict[Top, tuple[int, int]] = {}
    for index, node in zip(drawn, nodes, strict=True):
        layer, start = layers.params[index], layers.origins[index].start
        shapes: Sequence[Shape | None] = node.top_shapes if node is not None else [None] * len(layer.top)
        tops = list(zip(layer.top, shapes))
        part = Part(layer.name, layer.type, settings_of(layer), own.get(id(node), 0))
        if _joins(layers, layer, reads[index]):
            here, port = port_of[index, 0] = port_of[reads[index][0]]
            made.boxes[here].parts.append(part)
            made.boxes[here].tops[port] = tops[0]
            continue
        here = len(made.boxes)
        made.boxes.append(Box([part], kind_of(layer.type), str(start).rpartition(":")[0], tops))
        made.wires += [Wire(*port_of[top], here) for top in reads[index] if top != NOWHERE]
        port_of.update(((index, port), (here, port)) for port in range(len(tops)))
    return made


def of_graph(graph: Graph, shapes: Mapping[str, Shape]) -> Picture:
    """Of a compiled net. `shapes`: of the blobs that have others than it was compiled for."""
    params = [node.layer.param for node in graph.nodes]
    origins = [node.layer.origin for node in graph.nodes]
    made = picture(Layers(Draft(graph.header, origins), graph.state, params, origins), graph, NAMES[graph.phase])
    for box in made.boxes:
        box.tops = [(blob, shapes.get(blob, shape)) for blob, shape in box.tops]
    return made


def _own(graph: Graph | None) -> dict[int, int]:
    """Parameters that each node owns, by the node's identity."""
    found: dict[int, int] = {}
    for node, _, ref in graph.own_params() if graph is not None else ():
        found[id(node)] = found.get(id(node), 0) + count(ref.blob.shape)
    return found


def _joins(layers: Layers, layer: Any, reads: Sequence[Top]) -> bool:
    """Whether a layer works in place and so belongs to the box of what it reads; over a copy it does not."""
    if len(layer.top) != 1 or layer.bottom != layer.top or reads[0] == NOWHERE:
        return False
    above, port = reads[0]
    return bool(layers.params[above].top[port] == layer.top[0])
