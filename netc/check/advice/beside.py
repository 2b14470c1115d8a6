"""Sources that are read side by side, record by record: images and label images, the two images of a pair.

Their order is tied: of as many records, shuffled or not, all in one order. What is drawn at random for a picture (crop,
flip, scale, colours) is tied by transform_param.random_group alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from netc.check.advice.data import Known
from netc.check.advice.flow import TRAIN
from netc.check.advice.settings import transforms
from netc.errors.remark import Advice
from netc.graph.ir import Graph, Node
from netc.layers.sources import HDF5, IMAGES, LIST

_FEW = 10
"""A source of which another has so many times the records does not run beside it record by record."""


def unshuffled(graph: Graph) -> Iterator[Advice]:
    """Lists of images that are taken in the order of their file."""
    pairs = list(_pairs(graph, {}))
    for node in graph.nodes:
        if graph.phase == TRAIN and node.layer.feed == LIST and not node.layer.shuffles():
            message = f'layer "{node.name}" takes the images in the order of their list, the same in every epoch'
            others = [f'"{one.name}"' for pair in pairs if node in pair for one in pair if one is not node]
            hint = f"add {node.layer.to_shuffle}"
            if others:
                hint += f", also to {' and '.join(others)} beside it: then both stay in one order"
            yield Advice("A826", message, node.layer.origin.place(node.layer.param_field or ""), hint)


def parted_orders(graph: Graph, known: Known) -> Iterator[Advice]:
    """One source of two is shuffled, or both are and have different numbers of records."""
    yield from _parted_numbers(graph, known)
    for one, other in _pairs(graph, known):
        if one.layer.shuffles() == other.layer.shuffles():
            continue
        shuffled, plain = (one, other) if one.layer.shuffles() else (other, one)
        message = (
            f'layer "{shuffled.name}" takes its records in random order, and layer "{plain.name}" beside it does not: '
            "record and record do not stay together"
        )
        place = plain.layer.origin.place(plain.layer.param_field or "")
        hint = f"if they belong together, add {plain.layer.to_shuffle}: sources of as many records have one order"
        yield Advice("A816", message, place, hint)


def _parted_numbers(graph: Graph, known: Known) -> Iterator[Advice]:
    for one, other in _same_batches(graph):
        sizes = [known[node.layer.key].size or 0 for node in (one, other) if node.layer.key in known]
        if not (one.layer.shuffles() and other.layer.shuffles() and len(sizes) == 2 and _nearly_paired(*sizes)):
            continue
        message = (
            f'layers "{one.name}" and "{other.name}" take their records in random order, and have {sizes[0]} and '
            f"{sizes[1]}: record and record do not stay together"
        )
        place = other.layer.origin.place(f"{other.layer.param_field}.source")
        hint = "if they belong together, give both as many records: then both have one order"
        yield Advice("A816", message, place, hint)


def _nearly_paired(one: int, other: int) -> bool:
    """Different numbers of which the smaller is not that of a few constants beside a set of pictures."""
    return one != other and min(one, other) > 1 and min(one, other) * _FEW > max(one, other)


def parted_draws(graph: Graph, known: Known) -> Iterator[Advice]:
    """Pictures of two sources are cropped, flipped or rescaled at random, not both in the same way."""
    for one, other in _pairs(graph, known):
        if not (_spatial(one) and _spatial(other)):
            continue
        draws = [_draws(node, graph.phase) for node in (one, other)]
        groups = [node.layer.param.transform_param.random_group for node in (one, other)]
        tied = bool(groups[0]) and groups[0] == groups[1]
        if draws[0] == draws[1] and (tied or not draws[0]):
            continue
        order = "in one order" if one.layer.shuffles() == other.layer.shuffles() else "side by side"
        names = f'layers "{one.name}" and "{other.name}" give their pictures {order}'
        hint = 'if pixels belong together, give both transform_params the same settings, and random_group: "pair"'
        place = other.layer.origin.place("transform_param")
        about = one.name, other.name
        yield Advice("A817", f"{names}, but {_said(one, other, draws, tied)}", place, hint, about)


def _pairs(graph: Graph, known: Known) -> Iterator[tuple[Node, Node]]:
    """Sources with batches of one size and, as far as is known, as many records."""
    for one, other in _same_batches(graph):
        sizes = {facts.size for node in (one, other) if (facts := known.get(node.layer.key)) and facts.size}
        if len(sizes) < 2:
            yield one, other


def _same_batches(graph: Graph) -> Iterator[tuple[Node, Node]]:
    sources = [node for node in graph.nodes if node.layer.feed in {*IMAGES, HDF5} and node.top_shapes[0]]
    for one, other in combinations(sources, 2):
        if one.top_shapes[0][0] == other.top_shapes[0][0]:
            yield one, other


def _spatial(node: Node) -> bool:
    shape = node.top_shapes[0]
    return transforms(node) and len(shape) == 4 and min(shape[2:]) > 1


def _draws(node: Node, phase: int) -> dict[str, Any]:
    """What is drawn for each picture, and from what."""
    transform = node.layer.param.transform_param
    scales = transform.rescale_param.min_short_side, transform.rescale_param.max_short_side
    found = {
        "cropped": transform.crop_size if phase == TRAIN else 0,
        "mirrored": transform.mirror,
        "rescaled": scales if phase == TRAIN and scales[0] != scales[1] else 0,
    }
    return {what: value for what, value in found.items() if value}


def _said(one: Node, other: Node, draws: list[dict[str, Any]], tied: bool) -> str:
    if not tied and draws[0] == draws[1]:
        return f"are {' and '.join(draws[0])} at random, each on its own"
    parts = [
        f'"{node.name}" is {" and ".join(found) or "not changed"}' + (" at random" if found else "")
        for node, found in zip((one, other), draws, strict=True)
    ]
    return ", ".join(parts) + ("" if set(draws[0]) != set(draws[1]) else ", of different sizes")
