"""One record or file → a picture in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netc import proto
from netc.files.wire import BYTES, Wire
from netc.layers.base import format_shape
from netc.runtime.data.decoding import Undecodable, as_array, decode

BOX = 5
"""Numbers of an object in a record: class, x1, y1, x2, y2."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image and its label, or labels (an array of one axis).

    `pixels`: a Pillow image or an array (H, W, C) uint8, channels in the order red, green, blue (, alpha), or one;
    where `planar`, an array (C, H, W) as stored in a raw Datum: uint8 or float32, by Caffe's convention blue, green,
    red. `name`: its key or file. `boxes`: (k, 5) of the objects on it, where the record has some: class, x1, y1, x2, y2
    in pixels of this picture (docs/localisation.md).
    """

    pixels: Any
    label: float | NDArray[np.float64]
    name: str
    planar: bool = False
    boxes: NDArray[np.float64] | None = None

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


def planes_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, RGB) → (BGR, H, W), a view; a fourth channel stays the last."""
    planes = pixels.transpose(2, 0, 1)
    if len(planes) < 3:
        return planes
    return planes[::-1] if len(planes) == 3 else planes[[2, 1, 0, *range(3, len(planes))]]


def from_datum(key: bytes, value: bytes, color: bool | None, upright: bool = True) -> Picture:
    """`color`, `upright`: as netc.runtime.data.decoding.decode has them. Raises Undecodable."""
    name = key.decode("utf-8", "replace")
    try:
        datum = proto.Datum.FromString(value)
    except Exception as error:  # protobuf's own kinds of error differ between its versions
        raise Undecodable(f"it is not a Datum ({error})") from None
    boxes = _boxes(datum)
    if datum.encoded:
        return Picture(decode(datum.data, color, upright).pixels, float(datum.label), name, boxes=boxes)
    if not datum.channels:
        _refuse_annotated(value)
    return Picture(_planes(datum), float(datum.label), name, planar=True, boxes=boxes)


def _boxes(datum: Any) -> NDArray[np.float64] | None:
    """The boxes of a picture: in `float_data`, which Caffe reads only where `data` is empty. None for other numbers."""
    if not datum.float_data or not datum.data or len(datum.float_data) % BOX:
        return None
    boxes = np.array(datum.float_data, np.float64).reshape(-1, BOX)
    sound = np.isfinite(boxes).all() and (boxes[:, 1:3] < boxes[:, 3:]).all()
    return boxes if sound else None


def _refuse_annotated(value: bytes) -> None:
    """Field 1 of an AnnotatedDatum is a whole Datum, that of a Datum the number of channels."""
    try:
        first = next(Wire(value).fields(0, len(value)), None)
        whole = first is not None and (first.number, first.kind) == (1, BYTES)
        inner = proto.Datum.FromString(value[first.start : first.end]) if first and whole else None
    except Exception:  # not a message of any kind: told by whoever looks at the picture
        return
    if inner is not None and (inner.data or inner.float_data):
        reason = "it is an AnnotatedDatum, a picture with boxes, as SSD's create_annoset writes them"
        raise Undecodable(reason, ANNOTATED)


ANNOTATED = (
    "netc has boxes in the Datum itself: make the database with convert-imageset --boxes, or of the pictures alone; or "
    "feed such a net from Python"
)


def _planes(datum: Any) -> NDArray[Any]:
    shape = (datum.channels, datum.height, datum.width)
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    expected = datum.channels * datum.height * datum.width
    if min(shape) < 1 or values.size != expected:
        raise Undecodable(f"it has {values.size} values where {format_shape(shape)} asks for {expected}")
    return values.reshape(shape)
