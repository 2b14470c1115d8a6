"""SSD's and Faster R-CNN's boxes as standard operators, NonMaxSuppression among them; values as in `functions/`.

Boxes are values (…, 4) of (xmin, ymin, xmax, ymax).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def constant(op: Any, value: Any, kind: str = "i8") -> Any:
    """A tensor of the model: a number or a list of them."""
    from onnx.numpy_helper import from_array

    return op.Constant(value=from_array(np.array(value, dtype=kind)))


def size(op: Any, x: Any, axis: int) -> Any:
    """The length of an axis, as a vector of one number."""
    return op.Shape(x, start=axis, end=axis + 1)


def shape(op: Any, *parts: Any) -> Any:
    """A shape of whole numbers and vectors."""
    return op.Concat(*(constant(op, [part]) if isinstance(part, int) else part for part in parts), axis=0)


def columns(op: Any, x: Any, start: int, end: int) -> Any:
    """Those of the last axis."""
    return op.Slice(x, constant(op, [start]), constant(op, [end]), constant(op, [-1]))


def decoded_boxes(op: Any, priors: Any, variances: Any | None, offsets: Any, code: str) -> Any:
    """`functions.boxes.decoded_boxes`: default boxes moved by what the net says."""
    moved = offsets if variances is None else op.Mul(offsets, variances)
    if code == "corner":
        return op.Add(priors, moved)
    low, high = columns(op, priors, 0, 2), columns(op, priors, 2, 4)
    sizes = op.Sub(high, low)
    if code == "corner_size":
        return op.Add(priors, op.Mul(moved, op.Concat(sizes, sizes, axis=-1)))
    middle = op.Div(op.Add(low, high), constant(op, 2, "f4"))
    return around(op, op.Add(middle, op.Mul(columns(op, moved, 0, 2), sizes)), columns(op, moved, 2, 4), sizes)


def around(op: Any, centre: Any, growth: Any, sizes: Any) -> Any:
    """Boxes of e^growth times the sizes around a centre."""
    half = op.Div(op.Mul(op.Exp(growth), sizes), constant(op, 2, "f4"))
    return op.Concat(op.Sub(centre, half), op.Add(centre, half), axis=-1)


def without_inside_out(op: Any, boxes: Any) -> Any:
    """Boxes whose edges are the wrong way round as points: they overlap nothing, where NonMaxSuppression would turn
    them round."""
    low, high = columns(op, boxes, 0, 2), columns(op, boxes, 2, 4)
    right = op.ReduceMin(op.Cast(op.GreaterOrEqual(high, low), to=6), constant(op, [-1]), keepdims=1)
    return op.Where(op.Cast(right, to=9), boxes, op.Concat(low, low, axis=-1))


def survivors(op: Any, boxes: Any, fine: Any | None, threshold: float, most: int | None = None) -> Any:
    """(G, K, 4) boxes, best first, and which of them count at all (G, K) → whether each survives (G, K).

    NonMaxSuppression sorts by score; it gets the places as scores, so that equal scores are no question.
    """
    groups, count = size(op, boxes, 0), size(op, boxes, 1)
    ranks = op.Sub(op.Cast(count, to=1), op.Cast(places(op, count), to=1))
    scores = op.Expand(ranks, op.Concat(groups, constant(op, [1]), count, axis=0))
    if fine is not None:
        scores = op.Mul(scores, op.Cast(op.Unsqueeze(fine, constant(op, [1])), to=1))
    limit = count if most is None else constant(op, [most])
    overlap = constant(op, [min(threshold, 1.0)], "f4")
    kept = op.NonMaxSuppression(without_inside_out(op, boxes), scores, limit, overlap, constant(op, [0.5], "f4"))
    group, place = (op.Gather(kept, constant(op, column), axis=1) for column in (0, 2))
    return marked(op, op.Add(op.Mul(group, count), place), op.Concat(groups, count, axis=0))


def marked(op: Any, spots: Any, dims: Any) -> Any:
    """False everywhere, but True at the spots, counted through the whole tensor of the shape `dims`."""
    total = op.ReduceProd(dims, keepdims=1)
    flat = op.Expand(constant(op, [0], "i4"), total)
    ones = op.Expand(constant(op, [1], "i4"), op.Shape(spots))
    return op.Cast(op.Reshape(op.ScatterElements(flat, spots, ones, axis=0), dims), to=9)


def places(op: Any, count: Any) -> Any:
    """0, 1, … below a vector of one number."""
    zero, one = constant(op, 0), constant(op, 1)
    return op.Range(zero, op.Squeeze(count, constant(op, [0])), one)


def best(op: Any, scores: Any, kept: Any, most: int) -> Any:
    """Of each row (N, K), which are kept and among its `most` highest scores."""
    if most == 0:
        return op.And(kept, op.Not(kept))
    lowest = constant(op, -np.inf, "f4")
    count = op.Min(size(op, scores, 1), constant(op, [most]))
    _, index = op.TopK(op.Where(kept, scores, lowest), count, axis=1, largest=1, sorted=1)
    there = op.GatherElements(op.Cast(kept, to=6), index, axis=1)
    none = op.Cast(op.And(kept, op.Not(kept)), to=6)
    return op.Cast(op.ScatterElements(none, index, there, axis=1), to=9)


def detected_boxes(
    op: Any,
    offsets: Any,
    scores: Any,
    priors: Any,
    *,
    classes: int,
    nms_threshold: float,
    most_before: int | None = None,
    most: int = -1,
    least_score: float | None = None,
    background: int = 0,
    code: str = "corner",
    shared: bool = True,
    plain: bool = False,
) -> Any:
    """`functions.detection.detected_boxes`, without its eta."""
    labels = [label for label in range(classes) if label != background]
    images, own = size(op, offsets, 0), 1 if shared else classes
    table = op.Reshape(priors, constant(op, [2, -1, 1, 4]))
    boxes, variances = (op.Gather(table, constant(op, row), axis=0) for row in (0, 1))
    moves = op.Reshape(offsets, shape(op, images, -1, own, 4))
    moved = op.Transpose(decoded_boxes(op, boxes, None if plain else variances, moves, code), perm=[0, 2, 1, 3])
    chances = op.Transpose(op.Reshape(scores, shape(op, images, -1, classes)), perm=[0, 2, 1])
    chances = op.Gather(chances, constant(op, labels), axis=1)
    moved = op.Gather(moved, constant(op, [0] * len(labels) if shared else labels), axis=1)
    count = size(op, chances, 2)
    if most_before is not None:
        count = op.Min(count, constant(op, [most_before]))
    chances, order = op.TopK(chances, count, axis=2, largest=1, sorted=1)
    order = op.Expand(op.Unsqueeze(order, constant(op, [-1])), constant(op, [1, 1, 1, 4]))
    moved = op.GatherElements(moved, order, axis=2)
    groups = op.Concat(constant(op, [-1]), count, axis=0)
    fine = None
    if least_score is not None:
        fine = op.Reshape(op.Greater(chances, constant(op, least_score, "f4")), groups)
    kept = survivors(op, op.Reshape(moved, op.Concat(groups, constant(op, [4]), axis=0)), fine, nms_threshold)
    each = op.Concat(images, op.Mul(count, constant(op, [len(labels)])), axis=0)
    flat, kept = op.Reshape(chances, each), op.Reshape(kept, each)
    kept = best(op, flat, kept, most) if most >= 0 else kept
    spots = op.NonZero(kept)
    image, place = (op.Gather(spots, constant(op, row), axis=0) for row in (0, 1))
    spots = op.Transpose(spots, perm=[1, 0])
    label = op.Gather(constant(op, labels), op.Div(place, count), axis=0)
    heads = [op.Unsqueeze(op.Cast(part, to=1), constant(op, [1])) for part in (image, label)]
    score = op.Unsqueeze(op.GatherND(flat, spots), constant(op, [1]))
    corners = op.GatherND(op.Reshape(moved, op.Concat(each, constant(op, [4]), axis=0)), spots)
    return or_nothing(op, op.Concat(*heads, score, corners, axis=1), images)


def or_nothing(op: Any, rows: Any, images: Any) -> Any:
    """Rows (K, 7) as (1, 1, K, 7); where there are none, (image, -1, …) for each image."""
    numbers = op.Unsqueeze(op.Cast(places(op, images), to=1), constant(op, [1]))
    rest = op.Expand(constant(op, [[-1.0] * 6], "f4"), op.Concat(images, constant(op, [6]), axis=0))
    found = size(op, rows, 0)
    count = op.Where(op.Equal(found, constant(op, [0])), images, found)
    both = op.Concat(rows, op.Concat(numbers, rest, axis=1), axis=0)
    chosen = op.Slice(both, constant(op, [0]), count, constant(op, [0]))
    return op.Unsqueeze(chosen, constant(op, [0, 1]))


def proposed_regions(
    op: Any,
    scores: Any,
    offsets: Any,
    images: Any,
    *,
    numbers: int,
    anchors: Sequence[tuple[float, float, float, float]],
    stride: int,
    min_size: int,
    most_before: int,
    most: int,
    threshold: float,
) -> tuple[Any, Any]:
    """`functions.regions.proposed_regions`. `numbers`: how many `images` has of each image."""
    facts = op.Reshape(images, constant(op, [-1, 1, numbers]))
    height, width, down = (columns(op, facts, at, at + 1) for at in range(3))
    across = columns(op, facts, 3, 4) if numbers > 3 else down
    boxes = moved_anchors(op, offsets, anchors, stride, op.Concat(width, height, width, height, axis=-1))
    sides = op.Add(op.Sub(columns(op, boxes, 2, 4), columns(op, boxes, 0, 2)), constant(op, 1, "f4"))
    least = op.Mul(op.Concat(across, down, axis=-1), constant(op, min_size, "f4"))
    large = op.ReduceMin(op.Cast(op.GreaterOrEqual(sides, least), to=1), constant(op, [-1]), keepdims=0)
    thing = op.Slice(scores, constant(op, [len(anchors)]), constant(op, [2 * len(anchors)]), constant(op, [1]))
    chance = op.Mul(op.Reshape(op.Transpose(thing, perm=[0, 2, 3, 1]), constant(op, [0, -1])), large)
    count = op.Min(size(op, chance, 1), constant(op, [most_before]))
    chance, order = op.TopK(chance, count, axis=1, largest=1, sorted=1)
    order = op.Expand(op.Unsqueeze(order, constant(op, [-1])), constant(op, [1, 1, 4]))
    boxes = op.GatherElements(boxes, order, axis=1)
    ends = op.Add(boxes, constant(op, [0, 0, 1, 1], "f4"))  # a side counts both of its ends
    spots = op.NonZero(survivors(op, ends, None, threshold, most))
    image = op.Unsqueeze(op.Cast(op.Gather(spots, constant(op, 0), axis=0), to=1), constant(op, [1]))
    spots = op.Transpose(spots, perm=[1, 0])
    return op.Concat(image, op.GatherND(boxes, spots), axis=1), op.GatherND(chance, spots)


def moved_anchors(
    op: Any, offsets: Any, anchors: Sequence[tuple[float, float, float, float]], stride: int, sides: Any
) -> Any:
    """The anchors of all positions, moved, and cut off at the edge: (N, H · W · anchors, 4)."""
    rows, wide = size(op, offsets, 2), size(op, offsets, 3)
    step = constant(op, stride, "f4")
    y = op.Reshape(op.Mul(op.Cast(places(op, rows), to=1), step), constant(op, [-1, 1, 1, 1]))
    x = op.Reshape(op.Mul(op.Cast(places(op, wide), to=1), step), constant(op, [1, -1, 1, 1]))
    grid = shape(op, rows, wide, 1, 1)
    x, y = op.Expand(x, grid), op.Expand(y, grid)
    boxes = op.Add(constant(op, [[list(anchor) for anchor in anchors]], "f4"), op.Concat(x, y, x, y, axis=-1))
    move = op.Reshape(offsets, shape(op, 0, len(anchors), 4, rows, wide))
    move = op.Transpose(move, perm=[0, 3, 4, 1, 2])
    low, one = columns(op, boxes, 0, 2), constant(op, 1, "f4")
    size_ = op.Add(op.Sub(columns(op, boxes, 2, 4), low), one)
    centre = op.Add(op.Add(low, op.Div(size_, constant(op, 2, "f4"))), op.Mul(columns(op, move, 0, 2), size_))
    flat = op.Reshape(around(op, centre, columns(op, move, 2, 4), size_), constant(op, [0, -1, 4]))
    return op.Min(op.Max(flat, constant(op, 0, "f4")), op.Sub(sides, one))
