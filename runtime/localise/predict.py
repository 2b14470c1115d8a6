"""A net that predicts boxes, applied to pictures: its central crop (protocol 1), or every place (protocol 2).

The net gives centre x, centre y, width and height in parts of its window's sides (T8). Here boxes are x1 y1 x2 y2 in
pixels of the picture as it came, whatever it was rescaled to, so those of several scales and nets lie in one plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from netc.errors import NetcError, Place
from netc.graph.ir import Graph
from netc.runtime.data.boxes import Boxes, clipped, corners
from netc.runtime.data.datum import Picture
from netc.runtime.data.decoding import Pixels
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.images import check_room, pixels_of, resized
from netc.runtime.evaluate.protocol import CENTRE, windows
from netc.runtime.localise.merging import THRESHOLD, merge_boxes


@dataclass(frozen=True, slots=True)
class Localiser:
    """A net whose output is a box (single-class regression, `classes` 1) or one for each class (per-class)."""

    net: Classifier
    classes: int

    @property
    def per_class(self) -> bool:
        return self.classes > 1


class Predictions(NamedTuple):
    """What a localiser says of one picture at one scale: `boxes` (n, classes, 4) of n windows, and `scores` (n, K), the
    classifier's probabilities at these windows, or (n, 1) of ones without a classifier."""

    boxes: Boxes
    scores: Boxes


class Located(NamedTuple):
    """`label`: None where no class is told. `score`: the sum over the windows that the box was merged from."""

    label: int | None
    box: Boxes
    score: float


def localiser(net: Classifier, whole: Graph | None = None) -> Localiser:
    """`whole`: the net as its file has it, with its losses, where that is known. Raises NetcError R760 for a net whose
    outputs are not four for each class, or which itself takes them for scores, and as `Classifier.dense`."""
    hint = "vgg_D_SCR and vgg_D_PCR are nets that predict boxes"
    if net.classes % 4:
        message = f'the output "{net.blob}" has {net.classes} channels, and a box takes four'
        raise NetcError("R760", message, Place(net.graph.path), hint)
    if _holds_scores(net, whole or net.net.graph):
        message = f'the output "{net.blob}" holds the scores of {net.classes} classes, and no boxes'
        raise NetcError("R760", message, Place(net.graph.path), hint)
    _ = net.dense
    return Localiser(net, net.classes // 4)


def _holds_scores(net: Classifier, whole: Graph) -> bool:
    """Whether a Softmax, a loss or a measure of classes reads the output."""
    if net.blob not in net.graph.outputs:
        return True
    made = whole.edges.last.get(net.blob)
    readers = [whole.nodes[index].layer for index, _ in whole.edges.readers.get(made, ())] if made else []
    return any(layer.takes or layer.class_axis is not None for layer in readers)


def check_rating(rating: Classifier, of: Localiser) -> None:
    """Raises NetcError R761 where a classifier does not look at the windows of the localiser that it rates, or does not
    know the same classes."""
    own, other = rating.dense, of.net.dense
    if (own.size, own.stride) != (other.size, other.stride):
        windows = [f"{one.size[0]}×{one.size[1]} every {one.stride[0]}" for one in (own, other)]
        message = f"the classifier's windows are not the localiser's: {windows[0]} pixels, and {windows[1]}"
        raise NetcError("R761", message, Place(rating.graph.path), "both are made from one net")
    if of.per_class and rating.classes != of.classes:
        message = f"the classifier has {rating.classes} classes, and the localiser boxes for {of.classes}"
        raise NetcError("R761", message, Place(rating.graph.path))


def central(own: Localiser, picture: Picture, short: int, label: int = 0) -> Boxes:
    """Protocol 1: (4,) the box that the central crop gives, that of the class `label` where each has one. Cut at the
    picture's edges. Raises NetcError R732 for a scale smaller than the crop."""
    size = own.net.dense.size
    check_room([short], size)
    pixels = resized(_pixels(own.net, picture), short)
    ((top, left),) = windows(CENTRE, pixels.shape[:2], size)
    crop = np.array([left, top, left + size[1], top + size[0]], np.float64)
    found = own.net.dense.map(_tensor(own.net, pixels[top : top + size[0], left : left + size[1]]))
    boxes = _boxes(found.cpu().numpy()[0], crop.reshape(1, 1, 4), _scale(picture, pixels))
    return clipped(boxes[0, label if own.per_class else 0], *_size(picture))


def everywhere(own: Localiser, rating: Classifier | None, picture: Picture, short: int) -> Predictions:
    """Protocol 2: the boxes of every place of the net's window on the whole picture. Raises NetcError R732."""
    check_room([short], own.net.dense.size)
    pixels = resized(_pixels(own.net, picture), short)
    found = own.net.dense.map(_tensor(own.net, pixels))
    places = own.net.dense.places(*found.shape[2:]).numpy().astype(np.float64)
    boxes = _boxes(found.cpu().numpy()[0], places, _scale(picture, pixels))
    if rating is None:
        return Predictions(boxes, np.ones((len(boxes), 1)))
    scores = rating.dense.map(_tensor(rating, resized(_pixels(rating, picture), short)))
    probabilities = scores[0].double().softmax(0).flatten(1).T.cpu().numpy()
    return Predictions(boxes, probabilities)


def _pixels(net: Classifier, picture: Picture) -> Pixels:
    """(H, W, C) as the net takes it: red, green, blue, or gray."""
    rows = picture.planes.transpose(1, 2, 0)
    return pixels_of(rows[..., 2::-1] if rows.shape[2] > 2 else rows[..., :1], net.input.channels == 3, picture.name)


def _tensor(net: Classifier, pixels: Pixels) -> Tensor:
    """(1, C, h, w), where the net is."""
    return torch.from_numpy(net.input.planes(pixels))[None].to(net.device)


def _boxes(map_: Boxes, windows: Boxes, scale: Boxes) -> Boxes:
    """(4·classes, rows, columns) of a map → (places, classes, 4) in pixels of the picture."""
    parts = map_.reshape(-1, 4, *map_.shape[1:]).transpose(2, 3, 0, 1).astype(np.float64)
    origin, size = windows[..., None, :2], windows[..., None, 2:] - windows[..., None, :2]
    placed = np.concatenate([origin + parts[..., :2] * size, parts[..., 2:] * size], -1)
    return (corners(placed) * scale).reshape(-1, parts.shape[2], 4)


def _scale(picture: Picture, pixels: Pixels) -> Boxes:
    """From pixels of the rescaled picture to its own."""
    _, height, width = picture.size
    return np.array([width / pixels.shape[1], height / pixels.shape[0]] * 2)


def _size(picture: Picture) -> tuple[int, int]:
    """(width, height)."""
    return picture.size[2], picture.size[1]


# -- from many boxes to one a class ------------------------------------------------------------------------------------


def probabilities(found: Sequence[Predictions]) -> Boxes:
    """(K,) the classes of a picture: the mean over the places of each scale, then over the scales and nets."""
    mean: Boxes = np.mean([one.scores.mean(0) for one in found], 0)
    return mean


def best_classes(found: Sequence[Predictions], count: int) -> list[int]:
    """The most probable classes, the first one first."""
    scores = probabilities(found)
    return [int(label) for label in np.argsort(-scores, kind="stable")[:count]]


def located(found: Sequence[Predictions], picture: Picture, label: int | None, threshold: float = THRESHOLD) -> Located:
    """The box of a class: those of all places, scales and nets are merged, and of what is left the one with the highest
    score is taken, cut at the picture's edges. `label` None: of the only one that there is."""
    boxes = np.concatenate([one.boxes[:, _column(one.boxes, label)] for one in found])
    scores = np.concatenate([one.scores[:, _column(one.scores, label)] for one in found])
    merged = merge_boxes(boxes, scores, threshold)
    return Located(label, clipped(merged.boxes[0], *_size(picture)), float(merged.scores[0]))


def _column(values: Boxes, label: int | None) -> int:
    """Where a class stands: in the only column, if there is one for all."""
    return 0 if values.shape[1] == 1 else label or 0
