"""One record or file → a picture in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from netc import proto
from netc.layers.base import format_shape
from netc.runtime.data import opencv

try:
    import simplejpeg
except ImportError:  # Pillow decodes to the same pixels
    simplejpeg = None

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What is decoded. Pillow knows more, some of which start other programs."""

MAX_PIXELS = 178_956_970
"""A picture that claims more is refused, whatever a program has told Pillow: decoded, it would fill half a gigabyte."""


class Undecodable(Exception):
    """The bytes are not a picture; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image and its label.

    `pixels`: a Pillow image or an array (H, W, C) uint8, channels in the order red, green, blue (, alpha), or one;
    where `planar`, an array (C, H, W) as stored in a raw Datum: uint8 or float32, by Caffe's convention blue, green,
    red. `name`: its key or file.
    """

    pixels: Any
    label: float
    name: str
    planar: bool = False

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        if isinstance(self.pixels, Image.Image):
            return len(self.pixels.getbands()), self.pixels.height, self.pixels.width
        a, b, c = self.pixels.shape
        return (a, b, c) if self.planar else (c, a, b)

    @property
    def planes(self) -> NDArray[Any]:
        """(C, H, W); colours in the order blue, green, red."""
        planes: NDArray[Any] = self.pixels if self.planar else planes_of(as_array(self.pixels))
        return planes


def as_array(pixels: Any) -> NDArray[np.uint8]:
    """(H, W, C) of a Pillow image or an array."""
    array = np.asarray(pixels)
    return array if array.ndim == 3 else array[..., None]


def as_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """A Pillow image of (H, W, C)."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def planes_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, RGB) → (BGR, H, W), a view; a fourth channel stays the last."""
    planes = pixels.transpose(2, 0, 1)
    if len(planes) < 3:
        return planes
    return planes[::-1] if len(planes) == 3 else planes[[2, 1, 0, *range(3, len(planes))]]


def from_datum(key: bytes, value: bytes, color: bool | None) -> Picture:
    """`color`: True and False force three channels and one, None leaves those of the file. Raises Undecodable."""
    name = key.decode("utf-8", "replace")
    try:
        datum = proto.Datum.FromString(value)
    except Exception as error:  # protobuf's own kinds of error differ between its versions
        raise Undecodable(f"it is not a Datum ({error})") from None
    if datum.encoded:
        return Picture(decode(datum.data, color), float(datum.label), name)
    return Picture(_planes(datum), float(datum.label), name, planar=True)


def _planes(datum: Any) -> NDArray[Any]:
    shape = (datum.channels, datum.height, datum.width)
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    expected = datum.channels * datum.height * datum.width
    if min(shape) < 1 or values.size != expected:
        raise Undecodable(f"it has {values.size} values where {format_shape(shape)} asks for {expected}")
    return values.reshape(shape)


def decode(content: bytes, color: bool | None) -> Any:
    """A compressed file's pixels, as in `Picture`. EXIF orientation is ignored. Raises Undecodable."""
    if content[:2] == b"\xff\xd8" and (pixels := _decode_jpeg(content, color)) is not None:
        return pixels
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _converted(image, color)
    except UnidentifiedImageError:
        raise Undecodable("it is not a picture of a format that is read (" + ", ".join(FORMATS) + ")") from None
    except Exception as error:  # each of Pillow's decoders has its own kinds
        raise Undecodable(str(error).split("\n")[0] or type(error).__name__) from None


def _decode_jpeg(content: bytes, color: bool | None) -> NDArray[np.uint8] | None:
    """By simplejpeg where it is installed and the file is an ordinary colour or gray JPEG; None leaves it to Pillow."""
    if simplejpeg is None:
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
        if space not in ("YCbCr", "Gray") or height * width > MAX_PIXELS:
            return None
        gray = space == "Gray" if color is None else not color
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "GRAY" if gray else "RGB")
        return pixels
    except ValueError:
        return None  # damaged: Pillow forgives some of it, and words the rest better


_NATIVE = {"L": "L", "1": "L", "LA": "RGBA", "RGBA": "RGBA"}
"""Pillow's modes whose number of channels Caffe keeps; all others become three."""


def _converted(image: Image.Image, color: bool | None) -> Any:
    """Loaded, in one of the modes L, RGB and RGBA; 16-bit gray and forced gray as arrays."""
    if image.width * image.height > MAX_PIXELS:
        raise Undecodable(f"it claims to have {image.width}×{image.height} pixels (a decompression bomb)")
    if image.mode.startswith("I;16"):
        return high_bytes(image, bool(color))
    if color is False and image.mode != "L":
        return _gray(image)
    mode = "RGB" if color else _NATIVE.get(image.mode, "RGB")
    if image.mode != mode:
        return image.convert(mode)
    image.load()
    return image


def _gray(image: Image.Image) -> NDArray[np.uint8]:
    """As cv::imdecode: the luma of a JPEG as it is in the file; libpng's weights for anything else."""
    if image.format == "JPEG":
        image.draft("L", image.size)
        return as_array(image if image.mode == "L" else image.convert("L"))
    return opencv.gray(np.asarray(image.convert("RGB")))


def high_bytes(image: Image.Image, color: bool) -> NDArray[np.uint8]:
    """(H, W, 3 or 1) of an image of 16 bits (modes I;16…): the high byte, where Pillow's own conversion would clip."""
    high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)[..., None]
    return high.repeat(3, axis=2) if color else high
