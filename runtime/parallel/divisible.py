"""Whether the batches of a net can be divided: each sample by itself, whatever stands beside it in the batch; and how
the blobs of a batch come of those of its shards.

Each blob is of a kind (`Kind`). It has a row, or as many rows, for each sample; or it is the same for every shard,
since no data go into it; or it is one number for the batch, a mean or a sum over it, which is the weighted sum of the
shards' numbers. What is computed from such a number would be another function of the shards' than of the batch's,
unless it is linear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple, NoReturn

from netc.errors import NetcError, Place, counted
from netc.graph.ir import Graph, Node
from netc.layers.base import Shape, format_shape
from netc.layers.facts import LABELS, SUM
from netc.runtime.parallel.shards import Shard

_REMEDY = "train this net without shards, by one process"


class Kind(NamedTuple):
    """How a blob of a batch comes of the shards' (one of the constants below, or of netc.layers.facts). `counter`: of a
    mean over labels, the top whose layer counts them."""

    name: str
    counter: str = ""


ROWS, SAME = Kind("rows"), Kind("same")


def batch_of(graph: Graph) -> int:
    """How many samples a batch has: the first axis of what the sources give. 0 for a net without sources."""
    return max((shape[0] for node in _sources(graph) for shape in node.top_shapes if shape), default=0)


def kinds(graph: Graph, shards: int, processes: int = 1) -> Mapping[str, Kind]:
    """The kind of each top; {} where batches are not divided (one shard, by whatever number of processes).

    Raises NetcError R660 where a shard is not to each blob what the batch is, with fewer samples along axis 0; where
    a layer goes on from the pass before, or mixes samples; where more than a linear function is taken of a number of
    the whole batch; or where a layer brings data that nobody can divide.
    """
    if shards == 1:
        for node in graph.nodes if processes > 1 else ():  # each computes some of the passes, all rows of them
            _check_alone(node)
        return {}
    _Division(graph, Shard(0, shards)).kinds()  # one of the smallest
    return _Division(graph, Shard(shards - 1, shards)).kinds()  # and of the largest


def _sources(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.layer.is_source]


class _Division:
    """A net's blobs for one shard, from its sources down."""

    def __init__(self, graph: Graph, shard: Shard) -> None:
        self._nodes, self._shard = graph.nodes, shard
        self._part = _ratio(graph, shard)
        self._shapes: dict[str, Shape] = {}
        self._kinds: dict[str, Kind] = {}

    def kinds(self) -> dict[str, Kind]:
        for node in self._nodes:
            below = [self._kinds[bottom] for bottom in node.bottoms]
            shapes = self._shapes_of(node, below)
            found = [
                self._kind(node, top, whole, shape, below)
                for top, whole, shape in zip(node.top_names, node.top_shapes, shapes, strict=True)
            ]
            self._shapes.update(zip(node.top_names, shapes, strict=True))
            self._kinds.update(zip(node.top_names, found, strict=True))
        return self._kinds

    def _shapes_of(self, node: Node, below: Sequence[Kind]) -> Sequence[Shape]:
        if node.layer.is_source:
            return [_sharded(shape, self._shard) for shape in node.top_shapes]
        _check_alone(node)
        if node.layer.mixes_rows and ROWS in below:
            _refuse(node, "it mixes the samples of its batch, or their batch is not on axis 0")
        return _shapes(node, [self._shapes[bottom] for bottom in node.bottoms])

    def _kind(self, node: Node, top: str, whole: Shape, shape: Shape, below: Sequence[Kind]) -> Kind:
        scaled = _scaled(whole, self._part)
        if node.layer.drops_values and shape != scaled:
            _refuse(node, f'it drops values of "{top}", which is the same for every shard')
        if shape not in (whole, scaled):
            texts = format_shape(whole), format_shape(shape)
            _refuse(node, f'"{top}" is {texts[0]} for a batch and {texts[1]} for a shard of it')
        if all(kind == SAME for kind in below) and not node.layer.is_source:
            return SAME
        if any(kind not in (ROWS, SAME) for kind in below):
            return _of_numbers(node, below)
        if shape == scaled:
            return ROWS
        if shape:
            hint = f"leave this top out in TRAIN, or {_REMEDY}"
            _refuse(node, f'"{top}" is {format_shape(whole)} numbers for a batch, not rows of its samples', hint)
        return Kind(node.layer.mean_over, top if node.layer.mean_over == LABELS else "")


def _of_numbers(node: Node, below: Sequence[Kind]) -> Kind:
    """What a linear function of means over the batch is, and of what is the same for every shard; or of sums."""
    numbers = {kind for kind in below if kind != SAME}
    kind = next(iter(numbers))
    summed = kind.name == SUM
    keeps = node.layer.keeps_values or (node.layer.keeps_sums if summed else node.layer.keeps_means)
    if len(numbers) > 1 or not keeps or (summed and SAME in below):
        name = next(b for b, k in zip(node.bottoms, below, strict=True) if k not in (ROWS, SAME))
        _refuse(node, f'what it makes of "{name}", one number of a batch, cannot be told from the shards\' numbers')
    return kind


def _ratio(graph: Graph, shard: Shard) -> Fraction:
    """The share of the batch that a shard is, the same for all sources."""
    sizes = {shape[0]: node for node in _sources(graph) for shape in node.top_shapes if shape}
    ratios = {Fraction(len(shard.of(size)), size): node for size, node in sizes.items()}
    for size, node in sizes.items():
        if size < shard.count:
            _refuse(node, f"a batch of {counted(size, 'sample')} has no {shard.count} shards", "set fewer shards")
    if len(ratios) != 1:
        node = next(iter(reversed(sizes.values()))) if sizes else graph.nodes[0]
        found = " and ".join(map(str, sizes)) or "no"
        _refuse(node, f"the sources give {found} samples, which do not divide alike into {shard.count} shards")
    return next(iter(ratios))


def _sharded(shape: Shape, shard: Shard) -> Shape:
    return (len(shard.of(shape[0])), *shape[1:]) if shape else shape


def _scaled(shape: Shape, part: Fraction) -> Shape | None:
    first = shape[0] * part if shape else Fraction(1, 2)
    return (int(first), *shape[1:]) if first.denominator == 1 else None


def _check_alone(node: Node) -> None:
    if node.layer.carries_state:
        _refuse(node, "it goes on from where the pass before has left off")
    if node.layer.brings_data() and not node.layer.is_source:
        _refuse(node, "it brings data of its own, a whole batch at a time")


def _shapes(node: Node, bottoms: list[Shape]) -> Sequence[Shape]:
    """The tops for a shard's bottoms, by the layer's own rule."""
    layer = node.layer
    twin = type(layer)(layer.param, layer.phase, layer.origin, layer.probe)
    try:
        found = [tuple(shape) for shape in twin.setup(bottoms)]
    except NetcError as error:
        _refuse(node, f"it does not take a shard of a batch: {error.message}", place=error.place)
    for blob, other in zip(layer.blobs, twin.blobs, strict=True):
        if blob.shape != other.shape:
            texts = format_shape(blob.shape), format_shape(other.shape)
            _refuse(node, f"its {blob.name} is {texts[0]} for a batch and {texts[1]} for a shard of it")
    return found


def _refuse(node: Node, why: str, hint: str = _REMEDY, place: Place | None = None) -> NoReturn:
    message = f'layer "{node.name}" ({node.type}): the batch cannot be divided into shards: {why}'
    raise NetcError("R660", message, place or node.place, hint)
