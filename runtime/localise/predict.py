"""A net that predicts boxes, applied to pictures: its central crop (protocol 1), or every place (protocol 2).

The net gives centre x, centre y, width and height in parts of its window's sides (T8). Here boxes are x1 y1 x2 y2 in
pixels of the picture as it came, whatever it was rescaled to, so those of several scales and nets lie in one plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from netc.errors import NetcError, Place
from netc.runtime.data.boxes import Boxes, clipped, corners
from netc.runtime.data.datum import Picture
from netc.runtime.evaluate.dense import Dense, dense
from netc.runtime.localise.images import Looks, centre, tensor, whole
from netc.runtime.localise.merging import THRESHOLD, merge_boxes
from netc.runtime.net.module import Net


@dataclass(frozen=True, slots=True)
class Localiser:
    """A net whose output is a box (single-class regression, `classes` 1) or one for each class (per-class)."""

    dense: Dense
    looks: Looks
    classes: int

    @property
    def per_class(self) -> bool:
        return self.classes > 1


@dataclass(frozen=True, slots=True)
class Classifier:
    """A net whose output are scores of classes, of the same window as a localiser."""

    dense: Dense
    looks: Looks
    classes: int


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


def localiser(net: Net, looks: Looks) -> Localiser:
    """Raises NetcError R760 for a net whose outputs are not four for each class, and as `dense`."""
    found = dense(net)
    outputs = found.form.graph.shapes[found.blob][1]
    if outputs % 4:
        message = f'the output "{found.blob}" has {outputs} channels, and a box takes four'
        raise NetcError("R760", message, Place(net.graph.path), "vgg_D_SCR and vgg_D_PCR are nets that predict boxes")
    return Localiser(found, looks, outputs // 4)


def classifier(net: Net, looks: Looks, of: Localiser) -> Classifier:
    """The classifier that rates what a localiser predicts. Raises NetcError R761 where the two do not look at the same
    windows, or not for the same classes."""
    found = dense(net)
    classes = found.form.graph.shapes[found.blob][1]
    if (found.size, found.stride) != (of.dense.size, of.dense.stride):
        windows = [f"{one.size[0]}×{one.size[1]} every {one.stride[0]}" for one in (found, of.dense)]
        message = f"the classifier's windows are not the localiser's: {windows[0]} pixels, and {windows[1]}"
        raise NetcError("R761", message, Place(net.graph.path), "both are made from one net")
    if of.per_class and classes != of.classes:
        message = f"the classifier has {classes} classes, and the localiser boxes for {of.classes}"
        raise NetcError("R761", message, Place(net.graph.path))
    return Classifier(found, looks, classes)


def central(net: Localiser, picture: Picture, short: int, label: int = 0) -> Boxes:
    """Protocol 1: (4,) the box that the central crop gives, that of the class `label` where each has one. Cut at the
    picture's edges."""
    crop = centre(picture, short, net.dense.size)
    (found,) = net.dense.maps(tensor(picture, crop, net.looks))
    window = np.array([crop.left, crop.top, crop.left + crop.size[1], crop.top + crop.size[0]], np.float64)
    boxes = _boxes(found.numpy()[0], window.reshape(1, 1, 4), _scale(picture, crop.height, crop.width))
    return clipped(boxes[0, label if net.per_class else 0], *_size(picture))


def everywhere(net: Localiser, rating: Classifier | None, picture: Picture, short: int) -> Predictions:
    """Protocol 2: the boxes of every place of the net's window on the whole picture."""
    crop = whole(picture, short)
    (found,) = net.dense.maps(tensor(picture, crop, net.looks))
    rows, columns = found.shape[2:]
    windows = net.dense.places(rows, columns).numpy().astype(np.float64)
    boxes = _boxes(found.numpy()[0], windows, _scale(picture, crop.height, crop.width))
    if rating is None:
        return Predictions(boxes, np.ones((len(boxes), 1)))
    (scores,) = rating.dense.maps(tensor(picture, crop, rating.looks))
    probabilities = scores[0].double().softmax(0).flatten(1).T.numpy()
    return Predictions(boxes, probabilities)


def _boxes(map_: Boxes, windows: Boxes, scale: Boxes) -> Boxes:
    """(4·classes, rows, columns) of a map → (places, classes, 4) in pixels of the picture."""
    parts = map_.reshape(-1, 4, *map_.shape[1:]).transpose(2, 3, 0, 1).astype(np.float64)
    origin, size = windows[..., None, :2], windows[..., None, 2:] - windows[..., None, :2]
    placed = np.concatenate([origin + parts[..., :2] * size, parts[..., 2:] * size], -1)
    return (corners(placed) * scale).reshape(-1, parts.shape[2], 4)


def _scale(picture: Picture, height: int, width: int) -> Boxes:
    """From pixels of the rescaled picture to its own."""
    _, own_height, own_width = picture.size
    return np.array([own_width / width, own_height / height] * 2)


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
