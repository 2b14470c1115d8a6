"""A large image in parts: a net's map of scores, tile by tile, so that its blobs stay within a bound.

A tile is some of the map's places and the part of the image that they depend on, their receptive fields. It begins at a
whole number of the map's strides, so that all windows within the net lie as they do on the whole image. At an edge of
the image there is the net's own padding; elsewhere, what the net makes of the pixels next to a cut is not used. So a
tile gives the map's own values, up to the order in which torch's kernels sum up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from netc.check.analyse import ReceptiveField, analyse
from netc.graph.ir import Graph
from netc.layers.base import Shape
from netc.passes.convolutional import Convolutional, made_by
from netc.runtime.evaluate.memory import LARGEST, peak


@dataclass(frozen=True, slots=True)
class Span:
    """Along one axis: the pixels `begin` to `end` of the image, and the places `first` to `last` of the map, which are
    those of the tile's own map from `own` on."""

    begin: int
    end: int
    first: int
    last: int
    own: int

    @property
    def pixels(self) -> slice:
        return slice(self.begin, self.end)

    @property
    def places(self) -> slice:
        return slice(self.first, self.last)

    @property
    def kept(self) -> slice:
        return slice(self.own, self.own + self.last - self.first)


Tile = tuple[Span, Span]
"""Rows and columns."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How an image of a size goes through a net: `bytes` of blobs exist at a time. `tiles`: none where it goes as a
    whole. `map`: the shape of its map, (channels, rows, columns)."""

    bytes: int
    tiles: list[Tile]
    map: Shape


def plan(form: Convolutional, blob: str, height: int, width: int, limit: int = LARGEST) -> Plan:
    """As a whole up to `limit` bytes, else by the fewest tiles of which none needs more.

    A net without tiles takes the whole image: one with a layer that looks beyond its windows (global pooling), or one
    of unknown reach.
    """
    whole = form.sized(height, width)
    shape, needed = whole.shapes[blob], peak(whole, form.image)
    if needed <= limit or (field := _field(whole, blob)) is None:
        return Plan(needed, [], shape[1:])
    parts = [1, 1]
    while True:
        spans = [list(_spans(axis, parts[axis], field, shape[2 + axis], (height, width)[axis])) for axis in (0, 1)]
        sizes = [max(span.end - span.begin for span in each) for each in spans]
        needed = peak(form.sized(*sizes), form.image)
        splittable = [axis for axis in (0, 1) if parts[axis] < shape[2 + axis]]
        if needed <= limit or not splittable:
            return Plan(needed, list(product(spans[0], spans[1])), shape[1:])
        parts[max(splittable, key=lambda axis: sizes[axis])] += 1


def _spans(axis: int, parts: int, field: ReceptiveField, places: int, pixels: int) -> Iterator[Span]:
    """The places of an axis in `parts` runs of about the same length."""
    stride, start = field.stride[axis], min(0, field.start[axis])
    bounds = [places * part // parts for part in range(parts + 1)]
    for first, last in pairwise(bounds):
        own = min(first, -(start // stride))
        begin = stride * (first - own)
        reach = stride * (last - 1) + field.start[axis] + field.size[axis]
        yield Span(begin, pixels if last == places else min(pixels, reach), first, last, own)


def _field(graph: Graph, blob: str) -> ReceptiveField | None:
    """What a place of the blob's map depends on; None unless each layer on the way to it is local."""
    nodes = [graph.nodes[index] for index in made_by(graph, [blob])]
    kept = all(node.layer.is_source or node.layer.copies_bottom or node.layer.is_local() for node in nodes)
    if not kept or len(graph.shapes[blob]) != 4:
        return None
    writer, _ = graph.edges.last[blob]
    return next((row.field for row in analyse(graph).rows if row.node is graph.nodes[writer]), None)
