"""Channel order and scale of the input, and where it is exact the mean, folded into the first convolution.

Caffe's nets read x = s · (p - m), p from 0 to 255 in the order blue, green, red. After folding they read
torchvision's y = (p / 255 - mean) / std in the order red, green, blue, with torchvision's std. For each channel x and y
differ by a factor and a summand. The factor goes into the weights. The summand would go into the bias, which is exact
only where every window lies within the image: a padded convolution reads zeros of x beyond the border, and zeros of y
are another colour there. So for a net that pads, the summand is made 0 instead: y is taken with the net's own mean.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import numpy as np

from netc.errors import NetcError, Place
from netc.graph.ir import Graph, Node
from netc.weights.arrays import Array
from netc.weights.card import Preprocessing
from netc.weights.model import Model

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""torchvision's mean and standard deviation of ImageNet, red, green, blue, of values from 0 to 1."""


def fold_rgb(source: Model, shown: Preprocessing) -> tuple[Model, Preprocessing]:
    """The source with the first convolution's arrays changed, and what its input looks like now.

    Raises NetcError W763 (the net is needed), W768 (the mean is not known), W769 (folded already; the input
    does not go into convolutions alone, or not with three channels).
    """
    graph = source.runnable()
    if shown.channels == "RGB" or shown.std is not None:
        raise NetcError(
            "W769", f"nothing is left to fold: this file reads {shown}", Place(source.path), "leave out --rgb"
        )
    if shown.mean is None:
        raise NetcError(
            "W768",
            "to fold the preprocessing, the net's own mean must be known",
            Place(source.path),
            "give it with --mean 104,117,123 (blue, green, red) or --mean FILE.binaryproto; --mean 0 if there is none",
        )
    nodes = _first_convolutions(graph)
    exact = all(_reads_within(graph, node) for node in nodes)
    mean = list(MEAN) if exact else [value / 255 for value in reversed(shown.mean)]
    changed: dict[tuple[str, int], Array] = {}
    for node in nodes:
        arrays = [entry.array for entry in source.entries if entry.layer == node.name]
        for blob, array in enumerate(_folded(arrays, shown, mean if exact else None)):
            changed[node.name, blob] = array
    entries = [entry._replace(array=changed.get((entry.layer, entry.blob), entry.array)) for entry in source.entries]
    return replace(source, entries=entries), Preprocessing("RGB", 1.0, mean, None, 1.0, list(STD), shown.crop)


def folded_mean(shown: Preprocessing) -> bool:
    """Whether a folded net reads torchvision's own mean."""
    return shown.mean == list(MEAN)


def _folded(arrays: list[Array], shown: Preprocessing, mean: list[float] | None) -> list[Array]:
    """Weight and bias for y instead of x, at least float32; `mean`: y's mean, or None where it is x's own."""
    assert shown.mean is not None
    weight = arrays[0].astype("f8")
    factor = np.array(STD[::-1]) * 255 * shown.scale  # blue, green, red
    result = [(weight * factor[:, None, None])[:, ::-1].astype(np.promote_types(arrays[0].dtype, "<f4"))]
    if len(arrays) > 1:
        bias = arrays[1].astype("f8")
        if mean is not None:
            summand = shown.scale * (255 * np.array(mean[::-1]) - np.array(shown.mean))
            bias = bias + weight.sum((2, 3)) @ summand
        result.append(bias.astype(np.promote_types(arrays[1].dtype, "<f4")))
    return result


def _first_convolutions(graph: Graph) -> list[Node]:
    """The nodes that read the input. Raises W769."""
    pictures = [name for name in graph.inputs if len(graph.shapes[name]) == 4]
    if len(graph.inputs) != 1 or not pictures or graph.shapes[pictures[0]][1] != 3:
        found = ", ".join(f'"{name}"' for name in graph.inputs)
        raise NetcError("W769", f"--rgb is for nets with one input of three channels; this one reads {found or 'none'}")
    blobs, found_nodes = {pictures[0]}, []
    for index, node in enumerate(graph.nodes):
        if not blobs & set(node.bottoms):
            continue
        if node.type == "Split":
            blobs.update(node.tops)
            continue
        _check(graph, index, node)
        found_nodes.append(node)
    return found_nodes


def _check(graph: Graph, index: int, node: Node) -> None:
    if node.type != "Convolution" or len(node.bottoms) != 1:
        _refuse(node, "only a convolution can take the factors of the channels into its weights")
    if node.layer.options.group != 1 or node.params[0].blob.shape[1] != 3:
        _refuse(node, "its groups keep the channels apart")
    owners = {ref.owner for ref in node.params}
    others = (other for place, other in enumerate(graph.nodes) if place != index)
    if any(ref.owner in owners for other in others for ref in other.params):
        _refuse(node, "it shares its weights with another layer")


def _reads_within(graph: Graph, node: Node) -> bool:
    """Whether every window lies within the image, and there is a bias to take the mean."""
    geometry = node.layer.geometry  # type: ignore[attr-defined]
    within = not any(geometry.pad) and geometry.fits(node.bottom_shapes[0][2:])
    return within and len(node.params) == 2


def _refuse(node: Node, reason: str) -> NoReturn:
    raise NetcError(
        "W769", f'layer "{node.name}" ({node.type}) reads the input: {reason}', node.place, "leave out --rgb"
    )
