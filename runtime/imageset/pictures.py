"""One picture file → one Datum, as Caffe's convert_imageset makes it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from netc import proto
from netc.errors import NetcError
from netc.runtime.data import opencv
from netc.runtime.data.decoding import MAX_PIXELS, Decoded, Undecodable, as_array, as_image, decode, read_picture
from netc.runtime.data.rescale import rescaled
from netc.runtime.imageset.boxes.fitting import Fitted, Size

FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF"}
"""File name extension → Pillow's name of a format that pictures can be written in."""


NO_FILE = "no such file"


class Unusable(Exception):
    """A file that gives no record; the text is the reason, the same for every file with the same fault."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How pictures become records.

    `size` (height, width) is Caffe's resize, without regard to the shape; `short_side` keeps the shape. `encoded`
    keeps or writes a compressed file, of the format `encode_type` or else the file's own; otherwise pixels are
    stored. `quality` is that of JPEGs which have to be written anew. `upright`: pictures are turned as EXIF says.
    """

    gray: bool = False
    size: tuple[int, int] | None = None
    short_side: int = 0
    encoded: bool = False
    encode_type: str = ""
    quality: int = 95
    upright: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """A serialized Datum and what the summary says about it. `kept`: the file's own bytes are inside; `turned`: with an
    EXIF block that says how to turn them; `fitted`: its boxes, where it has some."""

    datum: bytes
    channels: int
    height: int
    width: int
    kept: bool
    turned: bool = False
    fitted: Fitted | None = None


Fit = Callable[[Size, Size], Fitted]
"""(height, width) of a picture, and those it is stored with → its boxes."""


def convert(path: Path, label: int, recipe: Recipe, fit: Fit | None = None) -> Record:
    """Read, check and convert one file. Raises `Unusable` if it is missing, empty, no whole picture, or without the
    boxes that `fit` is to give."""
    content = _read(path)
    picture = _decode(content, recipe)
    pixels = as_array(picture.pixels)
    target = _target(pixels, recipe)
    fitted = fit(pixels.shape[:2], target) if fit is not None else None
    if fitted is not None and fitted.wrong:
        raise Unusable(fitted.wrong)
    extension = path.suffix[1:].lower()
    wanted = recipe.encode_type.lower() or extension
    plain = _same_type(extension, wanted) and not (recipe.gray and picture.colored)
    if recipe.encoded and target == pixels.shape[:2] and plain:
        return _record(pixels, label, fitted, content, turned=picture.turned)
    pixels = resized(pixels, target, smooth=bool(recipe.short_side))
    encoded = encoded_as(pixels, wanted, recipe.quality) if recipe.encoded else None
    return _record(pixels, label, fitted, encoded, kept=False)


def _read(path: Path) -> bytes:
    try:
        content = read_picture(path)
    except FileNotFoundError:
        raise Unusable(NO_FILE) from None
    except NetcError as error:
        raise Unusable("a folder, not a file" if path.is_dir() else _told(error, path)) from None
    except (OSError, ValueError) as error:
        raise Unusable(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not content:
        raise Unusable("empty file")
    return content


def _told(error: NetcError, path: Path) -> str:
    """An error of opening without the file's name, so that equal faults are counted together."""
    return error.message.removeprefix(f"{path} is ").removeprefix(f"{path} ")


def _decode(content: bytes, recipe: Recipe) -> Decoded:
    """The picture's pixels as cv::imread gives them: 8 bits, no alpha, turned upright."""
    try:
        return decode(content, not recipe.gray, recipe.upright)
    except Undecodable as error:
        raise Unusable(f"cannot be decoded ({str(error).split(' (')[0]})") from None


def _target(pixels: opencv.Pixels, recipe: Recipe) -> tuple[int, int]:
    """(height, width) of the record."""
    height, width = pixels.shape[:2]
    if recipe.size:
        return recipe.size
    if not recipe.short_side:
        return height, width
    found = rescaled(height, width, recipe.short_side)
    if found[0] * found[1] > MAX_PIXELS:
        raise Unusable(f"with a short side of {recipe.short_side} it would have more than {MAX_PIXELS:,} pixels")
    return found


def resized(pixels: opencv.Pixels, target: tuple[int, int], smooth: bool) -> opencv.Pixels:
    """`smooth`: Pillow's bilinear filter over the whole source area of a pixel; otherwise OpenCV's four neighbours."""
    if pixels.shape[:2] == target:
        return pixels
    if not smooth:
        return opencv.resize(pixels, *target)
    image = as_image(pixels).resize(target[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(*target, -1)


def encoded_as(pixels: opencv.Pixels, extension: str, quality: int) -> bytes:
    """A compressed file of the type `extension`; JPEG for a type that cannot be written."""
    file, kind = io.BytesIO(), FORMATS.get(extension, "JPEG")
    options = {"quality": quality} if kind in ("JPEG", "WEBP") else {}
    as_image(pixels).save(file, kind, **options)
    return file.getvalue()


def _same_type(extension: str, wanted: str) -> bool:
    return extension == wanted or (wanted, extension) == ("jpg", "jpeg")


def _record(
    pixels: opencv.Pixels,
    label: int,
    fitted: Fitted | None,
    content: bytes | None,
    kept: bool = True,
    turned: bool = False,
) -> Record:
    """A Datum of a compressed file's bytes, which Caffe gives no sizes, or of blue-green-red planes."""
    height, width, channels = pixels.shape
    if content is not None:
        datum = proto.Datum(data=content, label=label, encoded=True)
    else:
        planes = pixels[..., ::-1].transpose(2, 0, 1)
        datum = proto.Datum(
            channels=channels, height=height, width=width, data=planes.tobytes(), label=label, encoded=False
        )
    if fitted is not None:
        datum.float_data.extend(fitted.boxes.ravel())
    kept = kept and content is not None
    return Record(datum.SerializeToString(), channels, height, width, kept, turned, fitted)
