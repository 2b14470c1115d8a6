"""One picture file → one Datum, as Caffe's convert_imageset makes it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from netc import proto
from netc.runtime.data import opencv
from netc.runtime.data.datum import FORMATS as READABLE
from netc.runtime.data.datum import MAX_PIXELS, as_image, high_bytes
from netc.runtime.data.rescale import rescaled

FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF"}
"""File name extension → Pillow's name of a format that pictures can be written in."""


class Unusable(Exception):
    """A file that gives no record; the text is the reason, the same for every file with the same fault."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How pictures become records.

    `size` (height, width) is Caffe's resize, without regard to the shape; `short_side` keeps the shape. `encoded`
    keeps or writes a compressed file, of the format `encode_type` or else the file's own; otherwise pixels are
    stored. `quality` is that of JPEGs which have to be written anew.
    """

    gray: bool = False
    size: tuple[int, int] | None = None
    short_side: int = 0
    encoded: bool = False
    encode_type: str = ""
    quality: int = 95


@dataclass(frozen=True, slots=True)
class Record:
    """A serialized Datum and what the summary says about it. `kept`: the file's own bytes are inside."""

    datum: bytes
    channels: int
    height: int
    width: int
    kept: bool


def convert(path: Path, label: int, recipe: Recipe) -> Record:
    """Read, check and convert one file. Raises `Unusable` if it is missing, empty, or no whole picture."""
    content = _read(path)
    picture = _decode(content, recipe.gray)
    target = _target(picture, recipe)
    extension = path.suffix[1:].lower()
    wanted = recipe.encode_type.lower() or extension
    plain = _same_type(extension, wanted) and not (recipe.gray and picture.was_color)
    if recipe.encoded and target == picture.pixels.shape[:2] and plain:
        return _record(picture.pixels, label, content)
    pixels = _resized(picture.pixels, target, smooth=bool(recipe.short_side))
    return _record(pixels, label, _encode(pixels, wanted, recipe.quality) if recipe.encoded else None, kept=False)


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Unusable("no such file") from None
    except IsADirectoryError:
        raise Unusable("a folder, not a file") from None
    except (OSError, ValueError) as error:
        raise Unusable(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not content:
        raise Unusable("empty file")
    return content


@dataclass(frozen=True, slots=True)
class _Picture:
    """(H, W, C) pixels, C = 3 red, green, blue or 1 gray; `was_color`: the file itself has colours."""

    pixels: opencv.Pixels
    was_color: bool


def _decode(content: bytes, gray: bool) -> _Picture:
    """The picture's pixels as cv::imread gives them: 8 bits, no alpha, turned upright."""
    try:
        with Image.open(io.BytesIO(content), formats=READABLE) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Unusable(f"more than {MAX_PIXELS} pixels")
            was_color = image.mode not in ("L", "LA", "1") and not image.mode.startswith(("I", "F"))
            if gray and image.format == "JPEG":
                image.draft("L", None)  # type: ignore[arg-type,unused-ignore]  # the file's own brightness channel
            return _Picture(_pixels(ImageOps.exif_transpose(image), gray), was_color)
    except UnidentifiedImageError:
        raise Unusable("not a picture, or of an unknown format") from None
    except Image.DecompressionBombError:
        raise Unusable(f"more than {MAX_PIXELS} pixels") from None
    except (OSError, SyntaxError, ValueError, IndexError, EOFError, ArithmeticError) as error:  # Pillow's, by format
        raise Unusable(f"cannot be decoded ({_reason(error)})") from None


def _reason(error: BaseException) -> str:
    """The decoder's words without its numbers, so that equal faults are counted together."""
    text = str(error).split("\n")[0]
    return text.split(" (")[0] if text else type(error).__name__


def _pixels(image: Image.Image, gray: bool) -> opencv.Pixels:
    if image.mode.startswith("I;16"):  # a 16-bit PNG
        return high_bytes(image, not gray)
    if gray and image.mode == "L":
        return np.asarray(image)[..., None]
    colors = np.asarray(image.convert("RGB"))
    return opencv.gray(colors) if gray else colors


def _target(picture: _Picture, recipe: Recipe) -> tuple[int, int]:
    """(height, width) of the record."""
    height, width = picture.pixels.shape[:2]
    if recipe.size:
        return recipe.size
    return rescaled(height, width, recipe.short_side) if recipe.short_side else (height, width)


def _resized(pixels: opencv.Pixels, target: tuple[int, int], smooth: bool) -> opencv.Pixels:
    """`smooth`: Pillow's bilinear filter over the whole source area of a pixel; otherwise OpenCV's four neighbours."""
    if pixels.shape[:2] == target:
        return pixels
    if not smooth:
        return opencv.resize(pixels, *target)
    image = as_image(pixels).resize(target[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(*target, -1)


def _encode(pixels: opencv.Pixels, extension: str, quality: int) -> bytes:
    """A compressed file of the type `extension`; JPEG for a type that cannot be written."""
    file, kind = io.BytesIO(), FORMATS.get(extension, "JPEG")
    options = {"quality": quality} if kind in ("JPEG", "WEBP") else {}
    as_image(pixels).save(file, kind, **options)
    return file.getvalue()


def _same_type(extension: str, wanted: str) -> bool:
    return extension == wanted or (wanted, extension) == ("jpg", "jpeg")


def _record(pixels: opencv.Pixels, label: int, content: bytes | None, kept: bool = True) -> Record:
    """A Datum of a compressed file's bytes, which Caffe gives no sizes, or of blue-green-red planes."""
    height, width, channels = pixels.shape
    if content is not None:
        datum = proto.Datum(data=content, label=label, encoded=True)
    else:
        planes = pixels[..., ::-1].transpose(2, 0, 1)
        datum = proto.Datum(
            channels=channels, height=height, width=width, data=planes.tobytes(), label=label, encoded=False
        )
    return Record(datum.SerializeToString(), channels, height, width, kept and content is not None)
