"""OpenCV's way of resizing and graying 8-bit pictures, in numpy.

Caffe's tools resize with cv::resize in its default mode (bilinear between the nearest four pixels, no smoothing
first), in 11-bit fixed point. A database that must equal Caffe's has to round where OpenCV rounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
_ONE = 2048


def resize(picture: Pixels, height: int, width: int) -> Pixels:
    """`picture` (H, W, C) scaled to (height, width, C) as cv::resize(INTER_LINEAR) does it."""
    if picture.shape[0] == 2 * height and picture.shape[1] == 2 * width:
        return _halve(picture)
    left, right, x_weights = _axis(picture.shape[1], width)
    top, bottom, y_weights = _axis(picture.shape[0], height)
    used, places = np.unique([top, bottom], return_inverse=True)  # the sums take four times the pixels' memory
    top, bottom = places.reshape(2, -1)
    lines = picture[used]
    rows = lines[:, left].astype(np.int32) * x_weights[0][:, None]
    rows += lines[:, right].astype(np.int32) * x_weights[1][:, None]
    above = (rows[top] >> 4) * y_weights[0][:, None, None] >> 16
    below = (rows[bottom] >> 4) * y_weights[1][:, None, None] >> 16
    total: NDArray[np.int32] = above + below
    return ((total + 2) >> 2).clip(0, 255).astype(np.uint8)


def _halve(picture: Pixels) -> Pixels:
    """Exactly half the size: OpenCV takes the mean of each four pixels instead."""
    total = picture[::2, ::2].astype(np.int32)
    for part in (picture[::2, 1::2], picture[1::2, ::2], picture[1::2, 1::2]):
        total += part
    return ((total + 2) >> 2).astype(np.uint8)


def _axis(size: int, wanted: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
    """The two neighbours of each output position along one axis, and their weights (2, wanted) in 1/2048."""
    position = ((np.arange(wanted) + 0.5) * (size / wanted) - 0.5).astype(np.float32)
    first = np.floor(position)
    share = np.where((first < 0) | (first >= size - 1), np.float32(0), position - first)
    first = first.clip(0, size - 1).astype(np.intp)
    weights = np.rint(np.stack([1 - share, share]) * _ONE).astype(np.int32)
    return first, np.minimum(first + 1, size - 1), weights


def gray(picture: Pixels) -> Pixels:
    """(H, W, 3) red, green, blue → (H, W, 1), as libpng does it for cv::imread: 15-bit fixed point, cut off."""
    found = np.empty((*picture.shape[:2], 1), np.uint8)
    for row, out in zip(picture, found, strict=True):  # a row at a time: the sums take four times the pixels' memory
        out[:, 0] = (row.astype(np.int32) @ np.array([9797, 19234, 3737], np.int32)) >> 15
    return found
