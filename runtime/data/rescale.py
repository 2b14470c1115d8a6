"""Isotropic rescaling of the region a crop comes from.

Only that region is computed: the same pixels as rescaling the whole picture, to one grey level, in half the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netc.runtime.data.datum import as_array


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

    A few more rows and columns than the crop's are computed where the picture has them, so that the filter sees the
    same neighbours as when the whole picture is rescaled. They are then cut off.
    """
    image = pixels if isinstance(pixels, Image.Image) else _as_image(pixels)
    top, bottom, y0, y1 = _reach(crop.top, crop.size[0], crop.height, image.height)
    left, right, x0, x1 = _reach(crop.left, crop.size[1], crop.width, image.width)
    small = image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
    y, x = crop.top - top, crop.left - left
    return as_array(small.crop((x, y, x + crop.size[1], y + crop.size[0])))


def _as_image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _reach(start: int, size: int, whole: int, original: int) -> tuple[int, int, float, float]:
    """Along one axis: first and last line to compute, and where these lie in the original."""
    scale = original / whole
    margin = int(max(1.0, 1 / scale)) + 1
    low, high = max(0, start - margin), min(whole, start + size + margin)
    return low, high, low * scale, min(high * scale, original)
