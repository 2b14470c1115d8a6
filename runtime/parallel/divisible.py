"""Whether the batches of a net can be divided: each sample by itself, whatever stands beside it in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NoReturn

from netc.errors import NetcError, Place, counted
from netc.graph.ir import Graph, Node
from netc.layers.base import Shape, format_shape
from netc.runtime.parallel.shards import Shard

_REMEDY = "train this net without shards, by one process"


def batch_of(graph: Graph) -> int:
    """How many samples a batch has: the first axis of what the sources give. 0 for a net without sources."""
    return max((shape[0] for node in _sources(graph) for shape in node.top_shapes if shape), default=0)


def check_divisible(graph: Graph, shards: int, processes: int = 1) -> None:
    """Raise NetcError R660 where a shard is not to each blob what the batch is, with fewer samples along axis 0; where
    a layer goes on from the pass before; or where it brings data that nobody can divide."""
    if shards == 1:
        for node in graph.nodes if processes > 1 else ():  # each computes some of the passes, all rows of them
            if not node.layer.mixes_rows or node.layer.carries_state:
                _check_alone(node)
        return
    for shard in (Shard(0, shards), Shard(shards - 1, shards)):  # one of the smallest, and of the largest
        _check(graph, shard)


def _sources(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.layer.is_source]


def _check(graph: Graph, shard: Shard) -> None:
    part = _ratio(graph, shard)
    shapes: dict[str, Shape] = {}
    for node in graph.nodes:
        if node.layer.is_source:
            found: Sequence[Shape] = [_sharded(shape, shard) for shape in node.top_shapes]
        else:
            _check_alone(node)
            found = _shapes(node, [shapes[bottom] for bottom in node.bottoms], shard)
        for name, whole, shape in zip(node.top_names, node.top_shapes, found, strict=True):
            scaled = _scaled(whole, part)
            if node.layer.drops_values and shape != scaled:
                _refuse(node, f'it drops values of "{name}", which is the same for every shard')
            if shape not in (whole, scaled):
                texts = format_shape(whole), format_shape(shape)
                _refuse(node, f'"{name}" is {texts[0]} for a batch and {texts[1]} for a shard of it')
            shapes[name] = shape


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
    if node.layer.mixes_rows:
        _refuse(node, "its batch is not on axis 0")
    if node.layer.brings_data() and not node.layer.is_source:
        _refuse(node, "it brings data of its own, a whole batch at a time")


def _shapes(node: Node, bottoms: list[Shape], shard: Shard) -> Sequence[Shape]:
    """The tops for a shard's bottoms, by the layer's own rule."""
    layer = node.layer
    twin = type(layer)(layer.param, layer.phase, layer.origin, layer.probe)
    try:
        return [tuple(shape) for shape in twin.setup(bottoms)]
    except NetcError as error:
        _refuse(node, f"it does not take a shard of a batch: {error.message}", place=error.place)


def _refuse(node: Node, why: str, hint: str = _REMEDY, place: Place | None = None) -> NoReturn:
    message = f'layer "{node.name}" ({node.type}): the batch cannot be divided into shards: {why}'
    raise NetcError("R660", message, place or node.place, hint)
