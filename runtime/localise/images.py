"""A picture → what a net takes: rescaled to a shorter side Q, whole or its centre, minus the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netc.errors import NetcError, Place
from netc.runtime.data.datum import Picture
from netc.runtime.data.rescale import Crop, rescaled, resized_region
from netc.weights.card import Preprocessing


@dataclass(frozen=True, slots=True)
class Looks:
    """How pixels become the net's input: (x - mean) · scale, channels in the order blue, green, red."""

    mean: tuple[float, ...]
    scale: float = 1.0


def looks_of(found: Preprocessing, path: str) -> Looks:
    """Raises NetcError R762 where the net does not say which mean its images are without."""
    if found.mean is None:
        message = "the net does not say which mean its images are taken without"
        raise NetcError(
            "R762", message, Place(path), "give --mean 103.939,116.779,123.68 (blue, green, red), or --mean 0"
        )
    return Looks(tuple(found.mean), found.scale)


def whole(picture: Picture, short: int) -> Crop:
    """The whole picture with a shorter side of `short` pixels."""
    _, height, width = picture.size
    height, width = rescaled(height, width, short)
    return Crop(height, width, 0, 0, (height, width), False)


def centre(picture: Picture, short: int, size: tuple[int, int]) -> Crop:
    """Its central crop of `size`. Raises NetcError R763 where that is larger."""
    found = whole(picture, short)
    top, left = (found.height - size[0]) // 2, (found.width - size[1]) // 2
    if min(top, left) < 0:
        message = f'a shorter side of {short} is less than the crop of {size[0]}×{size[1]} ("{picture.name}")'
        raise NetcError("R763", message, None, "give a larger scale, such as --scales 256")
    return Crop(found.height, found.width, top, left, size, False)


def tensor(picture: Picture, crop: Crop, looks: Looks) -> Tensor:
    """(1, C, h, w) of a crop, float32."""
    pixels = _rows(picture)
    if (pixels.shape[0], pixels.shape[1]) == (crop.height, crop.width):
        cut = pixels[crop.rows, crop.columns]
    else:
        cut = resized_region(np.ascontiguousarray(pixels), crop)
    planes = np.asarray(cut.transpose(2, 0, 1)[::-1], np.float32)
    mean = np.asarray(looks.mean, np.float32).reshape(-1, 1, 1)
    return torch.from_numpy((planes - mean) * np.float32(looks.scale))[None]


def _rows(picture: Picture) -> Any:
    """(H, W, C); colours in the order red, green, blue."""
    return picture.planes[::-1].transpose(1, 2, 0)
