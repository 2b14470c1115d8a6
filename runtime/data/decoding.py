"""A compressed file → pixels: the one way in which netc decodes pictures, whoever asks.

As cv::imread and so Caffe: 8 bits a channel, turned upright as EXIF says (OpenCV from 3.1 on), and no pictures of 32
bits or floating point.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from netc.files.opening import read_bytes
from netc.runtime.data import opencv

try:
    import simplejpeg
except ImportError:  # Pillow decodes to the same pixels
    simplejpeg = None

Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What is decoded. Pillow knows more, some of which start other programs."""

MAX_PIXELS = 1 << 27
"""134 million, about a gigabyte while it is decoded: a photo of 108 megapixels has less, and a scan of A2."""

MAX_BYTES = 1 << 30


class Undecodable(Exception):
    """The bytes are not a picture; the text is the reason, with numbers in brackets. `hint`: a remedy of its own."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Decoded:
    """`pixels`: a Pillow image or an array (H, W, C) uint8; red, green, blue (, alpha), or one channel. `colored`: the
    file has colours, whatever was asked for. `turned`: by its EXIF block it does not lie as it is to be seen."""

    pixels: Any
    colored: bool
    turned: bool = False


def read_picture(path: str | os.PathLike[str]) -> bytes:
    """A picture file's bytes. Raises OSError, NetcError F102 and F104 (netc.files.opening)."""
    return read_bytes(path, MAX_BYTES)


def decode(content: bytes, color: bool | None, upright: bool = True) -> Decoded:
    """`color`: True and False force three channels and one, None leaves those of the file. `upright` False leaves the
    pixels as they are stored, as OpenCV did before 3.1. Raises Undecodable."""
    jpeg = content[:2] == b"\xff\xd8"
    found = _by_simplejpeg(content, color) if jpeg and simplejpeg is not None else None
    if found is None:
        found = _by_pillow(content, color, jpeg)
    pixels, colored, exif = found
    turn = orientation(_exif_of_jpeg(content) if jpeg else exif)
    if upright and turn != 1:
        pixels = np.ascontiguousarray(_turned(as_array(pixels), turn))
    return Decoded(pixels, colored, turn != 1)


def size_of(content: bytes, upright: bool = True) -> tuple[int, int]:
    """(height, width) of what `decode` gives, from the header alone. Raises Undecodable."""
    with _said(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        check_size(image.width, image.height)
        size, exif = (image.height, image.width), image.info.get("exif") or b""
    jpeg = content[:2] == b"\xff\xd8"
    turned = upright and orientation(_exif_of_jpeg(content) if jpeg else exif) >= 5
    return size[::-1] if turned else size


def of_image(image: Image.Image, color: bool) -> Pixels:
    """(H, W, C) of a Pillow image that a program has opened, as of the file: three channels or one, turned upright.
    Raises Undecodable."""
    with _said():
        check_size(image.width, image.height)
        pixels = as_array(_converted(image, color, False))
    turn = orientation(image.info.get("exif") or b"")
    return np.ascontiguousarray(_turned(pixels, turn)) if turn != 1 else pixels


def as_array(pixels: Any) -> Pixels:
    """(H, W, C) of a Pillow image or an array."""
    array = np.asarray(pixels)
    return array if array.ndim == 3 else array[..., None]


def as_image(pixels: Pixels) -> Image.Image:
    """A Pillow image of (H, W, C)."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


# -- the decoders: (pixels, whether the file has colours, its EXIF block) ----------------------------------------------

_Found = tuple[Any, bool, bytes]


def _by_simplejpeg(content: bytes, color: bool | None) -> _Found | None:
    """An ordinary colour or gray JPEG; None leaves the file to Pillow."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
        if space not in ("YCbCr", "Gray"):
            return None
        check_size(width, height)
        gray = space == "Gray" if color is None else not color
        return simplejpeg.decode_jpeg(content, "GRAY" if gray else "RGB"), space != "Gray", b""
    except ValueError:
        return None  # damaged: Pillow forgives some of it, and words the rest better


def _by_pillow(content: bytes, color: bool | None, jpeg: bool) -> _Found:
    with _said(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        check_size(image.width, image.height)
        colored = image.mode not in _GRAY
        pixels = _converted(image, color, jpeg)
        return pixels, colored, image.info.get("exif") or b""


@contextmanager
def _said() -> Iterator[None]:
    """What Pillow raises, as Undecodable."""
    try:
        yield
    except Undecodable:
        raise
    except UnidentifiedImageError:
        raise Undecodable("it is not a picture of a format that is read (" + ", ".join(FORMATS) + ")") from None
    except Image.DecompressionBombError:
        raise Undecodable(f"it has more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # each of Pillow's decoders has its own kinds
        raise Undecodable(str(error).split("\n")[0] or type(error).__name__) from None


def check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Undecodable(f"it has more than {MAX_PIXELS:,} pixels ({width}×{height}); make it smaller")


_GRAY = frozenset({"L", "LA", "1", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_NATIVE = {"L": "L", "1": "L", "LA": "RGBA", "RGBA": "RGBA"}
"""Pillow's modes whose number of channels Caffe keeps; all others become three."""


def _converted(image: Image.Image, color: bool | None, jpeg: bool) -> Any:
    """Loaded, in one of the modes L, RGB and RGBA; 16-bit gray and forced gray as arrays."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # PGM has at most 16 bits
        return _high_bytes(image, bool(color))
    if image.mode in ("I", "F"):
        kind = "floating-point numbers" if image.mode == "F" else "signed or 32-bit integers"
        raise Undecodable(f"its pixels are {kind}, which OpenCV and so Caffe do not read as a picture")
    if color is False and image.mode != "L":
        return _gray(image, jpeg)
    mode = "RGB" if color else _NATIVE.get(image.mode, "RGB")
    if image.mode != mode:
        return image.convert(mode)
    image.load()
    return image


def _gray(image: Image.Image, jpeg: bool) -> Pixels:
    """As cv::imdecode: the luma of a JPEG as it is in the file; libpng's weights for anything else."""
    if jpeg:
        image.draft("L", image.size)
        return as_array(image if image.mode == "L" else image.convert("L"))
    return opencv.gray(np.asarray(image if image.mode == "RGB" else image.convert("RGB")))


def _high_bytes(image: Image.Image, color: bool) -> Pixels:
    """(H, W, 3 or 1) of an image of 16 bits: the high byte, where Pillow's own conversion would clip."""
    high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)[..., None]
    return high.repeat(3, axis=2) if color else high


# -- EXIF --------------------------------------------------------------------------------------------------------------

_APP1, _SCAN, _END = 0xE1, 0xDA, 0xD9
_ORIENTATION = 0x0112


def _exif_of_jpeg(content: bytes) -> bytes:
    """The EXIF block of a JPEG, b"" where there is none."""
    at = 2
    while content[at : at + 1] == b"\xff" and at + 4 <= len(content):
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in (_SCAN, _END):
            break
        if marker == _APP1 and content[at + 4 : at + 10] == b"Exif\0\0":
            return content[at + 4 : at + 2 + length]
        at += 1 if marker == 0xFF else 2 + length
    return b""


def orientation(exif: bytes) -> int:
    """1 to 8 as EXIF numbers them; 1, upright, where nothing legible is said. XMP is not looked at, as in OpenCV. (A
    TIFF file's own orientation is part of decoding it, in Pillow as in OpenCV.)"""
    body = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(body[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", body, 4)
        (count,) = struct.unpack_from(order + "H", body, start)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", body, start + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _turned(pixels: Pixels, turn: int) -> Pixels:
    """(H, W, C) as it is to be seen: 2 to 4 mirrored or turned by half, 5 to 8 also with rows for columns."""
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if turn in (2, 3, 6, 7) else pixels
