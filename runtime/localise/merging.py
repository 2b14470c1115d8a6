"""OverFeat's greedy merging (Sermanet et al., 2014, section 4.3), as the paper uses it (section A.1).

The two boxes that match best are replaced by their average, as long as two are close; then a box is worth the
classifier's scores of all the windows that it comes from. How well two boxes match: T14 in docs/numerics.md.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from netc.errors import NetcError
from netc.runtime.data.boxes import Boxes, iou

THRESHOLD = 0.5
"""How badly two boxes may match that are merged, where nothing else is asked for (docs/localisation.md)."""

MOST = float(np.finfo(np.float64).max)


class Merged(NamedTuple):
    """`boxes` (m, 4), the one of the highest score first; `scores` (m), each the sum over the `members`, the numbers of
    the given boxes that were averaged into it."""

    boxes: Boxes
    scores: Boxes
    members: list[list[int]]


def match(a: Any, b: Any) -> Boxes:
    """The match score of boxes (…, 4) and (…, 4), broadcast: the distance of their centres over the mean of their
    diagonals, plus 1 - IoU. 0 for equal boxes with an area, above 1 for those that share nothing."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    apart = np.hypot(*np.moveaxis((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2, -1, 0))
    diagonal = (_diagonal(a) + _diagonal(b)) / 2
    far = np.where(apart > 0, math.inf, 0.0)  # of two points
    distance: Boxes = np.divide(apart, diagonal, out=far, where=diagonal > 0)
    return distance + 1 - iou(a, b)


def _diagonal(boxes: Boxes) -> Boxes:
    size: Boxes = boxes[..., 2:] - boxes[..., :2]
    return np.hypot(size[..., 0], size[..., 1])


def merge_boxes(boxes: Any, scores: Any, threshold: float = THRESHOLD) -> Merged:
    """Merge `boxes`, (n, 4) as x1 y1 x2 y2, until no two have a match score of at most `threshold`.

    A step takes the pair of the lowest match score, the first such pair in the order of the boxes, and puts the average
    of its coordinates in the place of the first. `scores`: n numbers, of the window that each box was predicted from.
    Raises NetcError D562 where the arrays are not of these shapes, for a number that is not finite, and for a box whose
    right or lower edge lies before the other one.
    """
    left, scores, threshold = _checked(boxes, scores, threshold)
    members = [[number] for number in range(len(left))]
    table = match(left[:, None], left)
    table[np.tril_indices(len(left))] = math.inf
    while table.size and table.min() <= min(threshold, MOST):  # what is gone is infinitely far
        one, other = np.unravel_index(table.argmin(), table.shape)
        left[one] = (left[one] + left[other]) / 2
        members[one] += members[other]
        members[other] = []
        table[other] = table[:, other] = math.inf
        _renew(table, left, int(one), members)
    return _rated(left, scores, members)


def _renew(table: Boxes, left: Boxes, one: int, members: list[list[int]]) -> None:
    """The match scores of box `one` with all that are left."""
    others = np.flatnonzero([bool(group) for group in members])
    before, behind = others[others < one], others[others > one]
    table[before, one] = match(left[before], left[one])
    table[one, behind] = match(left[one], left[behind])


def _rated(left: Boxes, scores: Boxes, members: list[list[int]]) -> Merged:
    kept = [number for number, group in enumerate(members) if group]
    groups = [sorted(members[number]) for number in kept]
    sums = np.array([math.fsum(scores[group]) for group in groups])
    order = np.argsort(-sums, kind="stable")
    return Merged(left[kept][order].reshape(-1, 4), sums[order], [groups[number] for number in order])


def _checked(boxes: Any, scores: Any, threshold: Any) -> tuple[Boxes, Boxes, float]:
    try:
        boxes, scores, threshold = np.array(boxes, np.float64), np.array(scores, np.float64), float(threshold)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: torch's, of a tensor that records gradients
        raise NetcError("D562", f"boxes and scores are arrays of numbers, the threshold is one ({error})") from None
    boxes = boxes.reshape(0, 4) if not boxes.size else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        found = f"{boxes.shape} and {scores.shape}"
        raise NetcError("D562", f"merging takes n boxes, (n, 4), and their scores, (n,), found {found}")
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()) or not threshold >= 0:
        raise NetcError("D562", "boxes and scores are finite, and the threshold is 0 or more")
    if (boxes[:, :2] > boxes[:, 2:]).any():
        wrong = int(np.flatnonzero((boxes[:, :2] > boxes[:, 2:]).any(1))[0])
        message = f"box {wrong}, {boxes[wrong].tolist()}, ends before it begins"
        raise NetcError("D562", message, None, "boxes are x1 y1 x2 y2, not a corner and a size")
    return boxes, scores, threshold
