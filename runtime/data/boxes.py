"""Boxes as arrays (…, 4), and how much two of them share.

A box is x1 y1 x2 y2: its edges in pixels, counted from the left upper corner of the picture, so a box of the whole
picture is 0 0 W H and a box's width is x2 - x1. A net gives boxes as centre x, centre y, width, height.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


def corners(boxes: Any) -> Boxes:
    """(…, 4) centre x, centre y, width, height → x1 y1 x2 y2. A width or height below 0 counts as 0: a net may give
    one."""
    boxes = np.asarray(boxes, np.float64)
    centre, half = boxes[..., :2], boxes[..., 2:].clip(0) / 2
    return np.concatenate([centre - half, centre + half], -1)


def centred(boxes: Any) -> Boxes:
    """(…, 4) x1 y1 x2 y2 → centre x, centre y, width, height."""
    boxes = np.asarray(boxes, np.float64)
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], -1)


def clipped(boxes: Any, width: float, height: float) -> Boxes:
    """The parts of the boxes within a picture."""
    return np.asarray(boxes, np.float64).clip(0, [width, height] * 2)


def area(boxes: Any) -> Boxes:
    boxes = np.asarray(boxes, np.float64)
    size: Boxes = (boxes[..., 2:] - boxes[..., :2]).clip(0)
    return size[..., 0] * size[..., 1]


def iou(a: Any, b: Any) -> Boxes:
    """Intersection over union of boxes (…, 4) and (…, 4), broadcast; of two boxes without area it is 0.

    Each of one with each of the other: iou(a[:, None], b).
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    shared = area(np.concatenate([low, high], -1))
    whole = area(a) + area(b) - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
