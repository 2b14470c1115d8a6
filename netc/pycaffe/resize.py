"""Resizing as pycaffe does it by scikit-image and SciPy, in numpy: linear and nearest interpolation.

Pictures of 1 or 3 channels: pixels are areas, the middle of the first one at 0.5; what lies outside the picture counts
as its smallest value. No smoothing before a picture is made smaller, as in the scikit-image of Caffe's time. Other
numbers of channels: SciPy's zoom, which puts the middles of the corner pixels onto each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def resize_image(im: Array, new_dims: Sequence[int] | Array, interp_order: int = 1) -> Array:
    """An array, height × width × channels, in another height and width, as float32.

    `interp_order`: 0 nearest, 1 linear. Raises ValueError for others.
    """
    if interp_order not in (0, 1):
        raise ValueError(f"interp_order {interp_order}: netc interpolates with 0 (nearest) and 1 (linear)")
    height, width = int(new_dims[0]), int(new_dims[1])
    if im.shape[-1] not in (1, 3):
        rows = _places_by_corners(im.shape[0], height)
        return _sampled(im, rows, _places_by_corners(im.shape[1], width), interp_order, None).astype(np.float32)
    low, high = im.min(), im.max()
    if high <= low:
        return np.full((height, width, im.shape[-1]), low, np.float32)
    rows, columns = _places_by_areas(im.shape[0], height), _places_by_areas(im.shape[1], width)
    unit = _sampled((im - low) / (high - low), rows, columns, interp_order, 0.0)
    return np.asarray(unit * (high - low) + low, np.float32)


def _places_by_areas(size: int, new: int) -> Array:
    return np.asarray((np.arange(new) + 0.5) * (size / new) - 0.5)


def _places_by_corners(size: int, new: int) -> Array:
    return np.asarray(np.arange(new) * ((size - 1) / max(new - 1, 1)))


def _sampled(im: Array, rows: Array, columns: Array, order: int, outside: float | None) -> Array:
    """The values at the places rows × columns; `outside` None: no place is."""
    along = _interpolated(np.asarray(im, np.float64), rows, order, outside)
    return _interpolated(along.transpose(1, 0, 2), columns, order, outside).transpose(1, 0, 2)


def _interpolated(values: Array, places: Array, order: int, outside: float | None) -> Array:
    """Along the first axis."""
    if order == 0:
        return _taken(values, np.floor(places + 0.5).astype(int), outside)
    below = np.floor(places).astype(int)
    share = (places - below)[:, np.newaxis, np.newaxis]
    above = np.ceil(places).astype(int)
    return np.asarray((1 - share) * _taken(values, below, outside) + share * _taken(values, above, outside))


def _taken(values: Array, indices: Array, outside: float | None) -> Array:
    taken: Array = values[indices.clip(0, len(values) - 1)]
    if outside is not None:
        taken[(indices < 0) | (indices >= len(values))] = outside
    return taken
