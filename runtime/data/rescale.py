"""Isotropic rescaling of the region a crop comes from.

Only that region is computed: the same pixels as rescaling the whole picture, to one grey level, in half the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netc.runtime.data.decoding import as_array, as_image


@dataclass(frozen=True, slots=True)
class Crop:
    """The sampled region: the whole picture is `height` × `width` after rescaling, the crop `size` at (top, left)."""

    height: int
    width: int
    top: int
    left: int
    size: tuple[int, int]
    flip: bool

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.size[0])

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.size[1])


def rescaled(height: int, width: int, short: int) -> tuple[int, int]:
    """Isotropic: the shorter side becomes `short` pixels."""
    scale = short / min(height, width)
    return max(short, round(height * scale)), max(short, round(width * scale))


def resized_region(pixels: Any, crop: Crop) -> NDArray[np.uint8]:
    """The crop of `pixels` (Pillow image or (H, W, C)) rescaled by Pillow's antialiased bilinear filter.

    Pillow's `box` bounds what is computed, not what the filter sees: at the crop's edges it weighs the same neighbours
    as when the whole picture is rescaled.
    """
    height, width = pixels.shape[:2] if isinstance(pixels, np.ndarray) else (pixels.height, pixels.width)
    top, bottom, rows = _span(crop.top, crop.size[0], crop.height, height)
    left, right, columns = _span(crop.left, crop.size[1], crop.width, width)
    if isinstance(pixels, np.ndarray):  # a Pillow image of no more than the filter reaches
        pixels = as_image(pixels[rows, columns])
        top, bottom, left, right = top - rows.start, bottom - rows.start, left - columns.start, right - columns.start
    return as_array(pixels.resize(crop.size[::-1], Image.Resampling.BILINEAR, box=(left, top, right, bottom)))


def _span(start: int, size: int, whole: int, original: int) -> tuple[float, float, slice]:
    """Along one axis: where the crop lies in the original picture, and the lines that its filter reaches."""
    scale = original / whole
    low, high = start * scale, min((start + size) * scale, original)
    reach = max(scale, 1.0) + 1
    return low, high, slice(max(0, int(low - reach)), min(original, int(high + reach) + 1))
