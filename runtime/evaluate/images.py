"""From what a caller or a file gives to pixels, and from pixels to a net's input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netc.errors import NetcError, Place
from netc.graph.ir import Graph
from netc.layers import registry
from netc.layers.sources import IMAGES
from netc.runtime.data import opencv
from netc.runtime.data.datum import planes_of
from netc.runtime.data.decoding import MAX_PIXELS, Pixels, Undecodable, as_array, decode, of_image, read_picture
from netc.runtime.data.rescale import Crop, rescaled, resized_region
from netc.runtime.evaluate.protocol import is_whole
from netc.weights.card import Preprocessing
from netc.weights.preprocessing import mean_named

Planes = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Input:
    """What a net's input is: y = (x · range / 255 - mean) · scale / std for each channel.

    `channels`: how many; `order`: "RGB", or "BGR" as Caffe has it. `crop`: (height, width) of the classifier's input.
    mean, std: a value a channel, in that order, or one for all.
    """

    channels: int
    order: str
    crop: tuple[int, int]
    mean: tuple[float, ...]
    scale: float = 1.0
    std: tuple[float, ...] = ()
    range: float = 255.0

    def __str__(self) -> str:
        parts = [f"{self.order if self.channels == 3 else 'gray'} from 0 to {self.range:g}"]
        parts.append(f"mean {_listed(self.mean)}" if any(self.mean) else "no mean")
        parts += [f"scale {self.scale:g}"] if self.scale != 1 else []
        parts += [f"std {_listed(self.std)}"] if self.std else []
        return ", ".join([*parts, f"{self.crop[0]}×{self.crop[1]} pixels"])

    def planes(self, pixels: Pixels) -> Planes:
        """(H, W, C) as decoded → (C, H, W), as the data layers compute it."""
        planes = planes_of(pixels) if self.order == "BGR" else pixels.transpose(2, 0, 1)
        out = planes.astype(np.float32)
        if self.range != 255:
            out *= np.float32(self.range / 255)
        if any(self.mean):
            out -= np.array(self.mean, np.float32).reshape(-1, 1, 1)
        if self.scale != 1:
            out *= np.float32(self.scale)
        if self.std:
            out /= np.array(self.std, np.float32).reshape(-1, 1, 1)
        return out


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


# -- what a net's input is ---------------------------------------------------------------------------------------------


def input_of(graph: Graph, image: str, shown: Preprocessing, known: bool, crop: Any = None) -> Input:
    """The input of a deployed net, from what its card or net says (`shown`). `known`: whether that it names no mean
    says that there is none.

    Raises NetcError R731: nothing says which mean its pixels are without; R733: it takes neither one channel nor three.
    """
    shape = graph.shapes[image]
    channels, size = shape[1], (shape[2], shape[3])
    if channels not in (1, 3):
        hint = "views are of pictures, gray or in colour; give such a net its arrays: net(data=x)"
        raise NetcError("R733", f"the net takes images of {channels} channels", Place(graph.path), hint)
    if shown.mean is None and not known:
        why = f"its mean image {shown.mean_file} cannot be read" if shown.mean_file else "neither card nor net says it"
        hint = "give it: --mean 104,117,123 (blue, green, red; 0 for none), or mean=(104, 117, 123) in Python"
        raise NetcError("R731", f"the mean of the net's images is not known: {why}", Place(graph.path), hint)
    order = "RGB" if shown.channels == "RGB" else "BGR"
    given = _pair(crop if crop is not None else shown.crop, size)
    mean, std = tuple(shown.mean or (0.0,)), tuple(shown.std or ())
    return Input(channels, order, given, mean, shown.scale, std, shown.range)


def _pair(crop: Any, size: tuple[int, int]) -> tuple[int, int]:
    """A crop as (height, width). Raises NetcError R732."""
    if crop is None:
        return size
    sizes = tuple(crop) if isinstance(crop, Iterable) else (crop, crop)
    if len(sizes) != 2 or any(not is_whole(one) or one < 1 for one in sizes):
        raise NetcError("R732", f"crop is {crop!r}", None, "the side of the classifier's input in pixels: crop=224")
    return int(sizes[0]), int(sizes[1])


def says_no_mean(graph: Graph) -> bool:
    """Whether a net has a layer that reads images and subtracts nothing."""
    return says_no_mean_of(graph.param)


def says_no_mean_of(param: Any) -> bool:
    """The same of a NetParameter; a mean image is a mean."""
    kinds = registry()
    readers = [layer for layer in param.layer if layer.type in kinds and kinds[layer.type].feed in IMAGES]
    return bool(readers) and not any(layer.transform_param.mean_file for layer in readers)


def with_mean(shown: Preprocessing, mean: Any, channels: int) -> Preprocessing:
    """The same with a caller's mean, blue, green, red: numbers, or the name of a mean file. Raises NetcError as
    `mean_of`."""
    values = mean_of(mean, channels)
    ordered = values[::-1] if shown.channels == "RGB" else values
    return Preprocessing(shown.channels, shown.range, ordered, None, shown.scale, shown.std, shown.crop)


def mean_of(mean: Any, channels: int) -> list[float]:
    """One value for all channels, or one a channel; of a mean image (C, H, W), or a file of one, the channel means.

    Raises NetcError R732 for what is none of these, F120, W767, D507 for a file."""
    if isinstance(mean, str | os.PathLike):
        return mean_named(os.fspath(mean), channels)[0]
    try:
        values = np.asarray(mean, np.float64)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: torch's, of a tensor that records gradients
        values = np.array([])
    image = values.ndim == 3 and len(values) == channels
    values = values.mean((1, 2)) if image else values.ravel()
    if len(values) not in (1, channels) or not np.isfinite(values).all():
        hint = "one value for all channels, one a channel, a mean image or its file: mean=(104, 117, 123)"
        raise NetcError("R732", f"mean is {_shown(mean)}", None, hint)
    return [float(value) for value in values]


def _shown(value: Any) -> str:
    return f"an array of {value.shape}" if isinstance(value, np.ndarray) and value.size > 8 else repr(value)[:80]


# -- pixels ------------------------------------------------------------------------------------------------------------


def pixels_of(image: Any, color: bool, name: str) -> Pixels:
    """(H, W, 3) red, green, blue, or (H, W, 1), of a path, a Pillow image or an array (H, W, 3) of uint8.

    Raises NetcError D520 (a file that is no picture), R734 (something else).
    """
    if isinstance(image, np.ndarray):
        return _of_array(image, color, name)
    try:
        if isinstance(image, Image.Image):
            return of_image(image, color)
        if isinstance(image, str | os.PathLike):
            return as_array(decode(read_picture(image), color).pixels)
    except (OSError, Undecodable) as error:
        raise unusable(name, error) from None
    raise NetcError("R734", f"{name} is a {type(image).__name__}", None, IMAGE)


IMAGE = "give a path, a Pillow image, or an array of height × width × 3, uint8, red, green, blue"


def unusable(name: str, error: Exception) -> NetcError:
    """D520 for a picture that cannot be read or decoded."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = error.hint if isinstance(error, Undecodable) else None
    return NetcError("D520", f"the picture {name} cannot be used: {reason}", None, hint)


def _of_array(image: NDArray[Any], color: bool, name: str) -> Pixels:
    array = image[..., None] if image.ndim == 2 else image
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise NetcError("R734", f"{name} is an array of {image.dtype}, {image.shape}", None, IMAGE)
    if color:
        return array.repeat(3, axis=2) if array.shape[2] == 1 else array
    return opencv.gray(array) if array.shape[2] == 3 else array


def resized(pixels: Pixels, scale: int) -> Pixels:
    """Rescaled as by the data layers: the shorter side to `scale` pixels, bilinear with smoothing.

    Raises NetcError D520 where that is more than a picture may have.
    """
    height, width = rescaled(pixels.shape[0], pixels.shape[1], scale)
    if height * width > MAX_PIXELS:
        shape = f"{pixels.shape[0]}×{pixels.shape[1]}"
        raise NetcError("D520", f"a picture of {shape} pixels would be rescaled to more than {MAX_PIXELS:,}")
    if pixels.shape[:2] == (height, width):
        return pixels
    return resized_region(pixels, Crop(height, width, 0, 0, (height, width), False))


def check_room(protocol_scales: Sequence[int], crop: tuple[int, int]) -> None:
    """Raises NetcError R732 where an image would be smaller than the classifier's input."""
    small = min(protocol_scales)
    if small < max(crop):
        found = (
            f"images of {small} pixels at the shorter side are smaller than the classifier's input, {crop[0]}×{crop[1]}"
        )
        raise NetcError("R732", found, None, f"take scales of at least {max(crop)}")
