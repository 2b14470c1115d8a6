"""The checked graph: what `build` makes and everything after it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any

from netc.errors import Place
from netc.graph import page
from netc.graph.edges import Top, readers_of, resolve
from netc.layers.base import Layer, ParamBlob, Shape, count

AUTOMATIC = "(automatic)"
"""Caffe's name for the top of a loss that has none; it names no blob that a layer could read."""


@dataclass(slots=True)
class ParamRef:
    """A parameter of a node. `owner` is the (node index, position) that holds the values: itself unless shared."""

    blob: ParamBlob
    owner: tuple[int, int]
    lr_mult: float = 1.0
    decay_mult: float = 1.0

    @property
    def learnable(self) -> bool:
        return self.lr_mult != 0


@dataclass(slots=True)
class Node:
    """One layer in the order of execution, splits included.

    `backward[i]`: a gradient flows to bottom i. `loss_weights[i]`: 0 where top i is not a loss.
    """

    layer: Layer
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    bottom_shapes: tuple[Shape, ...]
    top_shapes: tuple[Shape, ...]
    params: list[ParamRef] = field(default_factory=list)
    loss_weights: tuple[float, ...] = ()
    backward: tuple[bool, ...] = ()
    needs_backward: bool = False

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def type(self) -> str:
        return self.layer.type

    @property
    def place(self) -> Place:
        return self.layer.origin.start

    @property
    def param_count(self) -> int:
        """How many values its parameters hold, shared ones included."""
        return sum(count(ref.blob.shape) for ref in self.params)

    @property
    def in_place(self) -> bool:
        """Whether the first top is written over the first bottom."""
        return bool(self.tops) and self.tops[:1] == self.bottoms[:1]

    @property
    def top_names(self) -> tuple[str, ...]:
        """The tops under the names a run returns them by: that of a loss without a top is "(layer)"."""
        return tuple(f"({self.name})" if top == AUTOMATIC else top for top in self.tops)


class Edges:
    """The edges of a graph.

    `writers[i][b]`: what bottom b of node i is. `makers[i][b]`: the same with copies left out, and `readers[top]`: the
    bottoms that read a top, directly or through copies; `uses[top]`: those that read it directly. `last[blob]`: what a
    blob is in the end, copies left out.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        names = [(node.bottoms, node.tops) for node in nodes]
        copies = {index for index, node in enumerate(nodes) if node.layer.copies_bottom}
        self.nodes = nodes
        self.writers, _ = resolve(names)
        self.uses = readers_of(self.writers)
        self.makers, self.last = resolve(names, copies)
        self.readers = readers_of(self.makers, copies)

    def maker(self, index: int, bottom: int = 0) -> Node | None:
        """The node that made a bottom of a node, copies left out; None where the node has no such bottom."""
        tops = self.makers[index]
        return self.nodes[tops[bottom][0]] if bottom < len(tops) else None

    def name(self, top: Top) -> str:
        """The name of the blob in which a top is made."""
        index, position = top
        return self.nodes[index].tops[position]

    def above(self, index: int, passing: Callable[[Node], bool]) -> Node | None:
        """The first node above bottom 0 that is not `passing`."""
        while self.makers[index]:
            index = self.makers[index][0][0]
            if not passing(self.nodes[index]):
                return self.nodes[index]
        return None


@dataclass
class Graph:
    """A net for one phase. Blob shapes are those of the blob's last writer, as in Caffe."""

    name: str
    state: Any
    """The NetState that the net was filtered for."""
    nodes: list[Node]
    shapes: dict[str, Shape]
    """Blob name → shape, in order of first appearance."""
    inputs: tuple[str, ...]
    """Tops of Input layers, in order."""
    outputs: tuple[str, ...]
    """Blobs nothing consumes, in alphabetical order."""
    header: Any
    """The NetParameter with the net's own fields; the layers are those of `nodes`, whatever it has of them."""
    path: str = ""

    @property
    def phase(self) -> int:
        return int(self.state.phase)

    def __repr__(self) -> str:
        """A page at most: a line a layer with its type, the shapes of its tops and its number of parameters."""
        rows = self._rows()
        return page.text(f"Graph {self._title(len(rows))}", rows)

    def _repr_html_(self) -> str:
        """What a notebook shows: a table of all layers, and a picture."""
        rows = self._rows()
        drawing = import_module("netc.look.draw")  # of the room for looking, which stands on this one
        return page.html(f"Graph {self._title(len(rows))}", rows, drawing.svg_of(self))

    def _title(self, layers: int) -> str:
        return page.title(self.name, self.phase, layers, sum(count(ref.blob.shape) for _, _, ref in self.own_params()))

    def _rows(self) -> list[page.Row]:
        return [
            page.row(node.name, node.type, node.top_names, node.top_shapes, node.param_count)
            for node in self.nodes
            if not node.layer.copies_bottom
        ]

    @cached_property
    def edges(self) -> Edges:
        """Who made what each node reads."""
        return Edges(self.nodes)

    @property
    def param(self) -> Any:
        """The NetParameter of this graph, put together anew: current format, the phase's layers, splits inserted, each
        layer with its phase and each loss with its weight."""
        param = type(self.header)()
        param.CopyFrom(self.header)
        param.state.CopyFrom(self.state)
        del param.layer[:]
        param.layer.extend(node.layer.param for node in self.nodes)
        for layer, node in zip(param.layer, self.nodes, strict=True):
            layer.phase = node.layer.phase
            if node.layer.is_loss and not layer.loss_weight:
                layer.loss_weight.extend(node.loss_weights)
        return param

    @property
    def force_backward(self) -> bool:
        """Every layer passes gradients on, whether or not something above it learns."""
        return bool(self.header.force_backward)

    def node(self, name: str) -> Node:
        """The (last) node of that name; KeyError if there is none."""
        for node in reversed(self.nodes):
            if node.name == name:
                return node
        raise KeyError(name)

    def own_params(self) -> list[tuple[Node, int, ParamRef]]:
        """(node, position, parameter) of every parameter that is not a share of another, in Caffe's order."""
        return [
            (node, position, ref)
            for index, node in enumerate(self.nodes)
            for position, ref in enumerate(node.params)
            if ref.owner == (index, position)
        ]
