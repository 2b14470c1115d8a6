"""caffe.io: pictures for nets, and arrays as messages.

Pictures are arrays of float32, height × width × channels, RGB, from 0 to 1, as pycaffe has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc import proto
from netc.errors import NetcError
from netc.pycaffe.proto import caffe_pb2 as caffe_pb2
from netc.pycaffe.resize import resize_image as resize_image

Array = NDArray[Any]

# -- messages ----------------------------------------------------------------------------------------------------------


def blobproto_to_array(blob: Any, return_diff: bool = False) -> Array:
    """The values of a BlobProto (or its diff) in its shape: that of old files has four axes.

    Raises ValueError where the shape does not fit the values.
    """
    values = np.array(blob.diff if return_diff else blob.data)
    old = any(blob.HasField(name) for name in ("num", "channels", "height", "width"))
    return values.reshape((blob.num, blob.channels, blob.height, blob.width) if old else tuple(blob.shape.dim))


def array_to_blobproto(arr: Array, diff: Array | None = None) -> Any:
    """A BlobProto of an array of any shape."""
    blob = proto.BlobProto()
    blob.shape.dim.extend(np.shape(arr))
    blob.data.extend(np.asarray(arr).astype(float).flat)
    if diff is not None:
        blob.diff.extend(np.asarray(diff).astype(float).flat)
    return blob


def arraylist_to_blobprotovector_str(arraylist: Sequence[Array]) -> bytes:
    """Arrays as the bytes of a BlobProtoVector."""
    vector = proto.BlobProtoVector()
    vector.blobs.extend([array_to_blobproto(array) for array in arraylist])
    return bytes(vector.SerializeToString())


def blobprotovector_str_to_arraylist(string: bytes) -> list[Array]:
    """The arrays of the bytes of a BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in proto.BlobProtoVector.FromString(string).blobs]


def array_to_datum(arr: Array, label: int | None = None) -> Any:
    """A Datum of an array, channels × height × width: bytes of uint8 as `data`, all others as `float_data`.

    Raises ValueError for another number of axes.
    """
    if arr.ndim != 3:
        raise ValueError("Incorrect array shape.")
    datum = proto.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).flat)
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> Array:
    """The array of a Datum that holds values, not a compressed picture: channels × height × width."""
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.data):
        return np.frombuffer(datum.data, np.uint8).reshape(shape).copy()
    return np.array(datum.float_data).astype(float).reshape(shape)


# -- pictures ----------------------------------------------------------------------------------------------------------


def load_image(filename: Any, color: bool = True) -> Array:
    """A picture file as an array: height × width × 3, or × 1 without `color`; transparency is left away. `filename` may
    be an open file too, such as what a browser has sent in an io.BytesIO.

    Grey is 0.2125 R + 0.7154 G + 0.0721 B. Raises OSError, NetcError F102 (not a regular file), D520 (too many pixels).
    """
    if hasattr(filename, "read"):
        values = _decoded(filename, getattr(filename, "name", "of an open file"))
    else:
        from netc.files.opening import open_regular

        with open_regular(filename) as file:
            values = _decoded(file, filename)
    if not color:
        return values if values.shape[2] == 1 else (values @ _LUMA)[:, :, np.newaxis].astype(np.float32)
    return np.tile(values, (1, 1, 3)) if values.shape[2] == 1 else values


def _decoded(file: Any, name: Any) -> Array:
    from PIL import Image

    with Image.open(file) as picture:
        decoding = import_module("netc.runtime.data.decoding")
        try:
            decoding.check_size(*picture.size)
        except decoding.Undecodable as reason:
            raise NetcError("D520", f'the picture "{name}" cannot be used: {reason}') from None
        return _unit(picture)


_LUMA = np.array([0.2125, 0.7154, 0.0721])


def _unit(picture: Any) -> Array:
    """The values from 0 to 1, with 1 channel or 3."""
    if picture.mode.startswith("I"):  # grey of 16 bits
        values = np.asarray(picture, np.float64) / 65535
    elif picture.mode in ("1", "L", "LA"):
        values = np.asarray(picture.convert("L"), np.float64) / 255
    else:
        values = np.asarray(picture.convert("RGB"), np.float64) / 255
    return np.asarray(values[:, :, np.newaxis] if values.ndim == 2 else values, np.float32)


def oversample(images: Sequence[Array] | Array, crop_dims: Sequence[int] | Array) -> Array:
    """Ten crops of each picture: the four corners and the middle, then their mirror images.

    Pictures are height × width × channels and of one size; the result is (10 · number, *crop_dims, channels).
    """
    height, width, channels = images[0].shape
    rows, columns = int(crop_dims[0]), int(crop_dims[1])
    corners = [(y, x) for y in (0, height - rows) for x in (0, width - columns)]
    starts = [*corners, (int(height / 2.0 - rows / 2.0), int(width / 2.0 - columns / 2.0))]
    crops = np.empty((10 * len(images), rows, columns, channels), np.float32)
    for number, image in enumerate(images):
        for index, (y, x) in enumerate(starts):
            crop = image[y : y + rows, x : x + columns]
            crops[10 * number + index], crops[10 * number + 5 + index] = crop, crop[:, ::-1]
    return crops


class Transformer:
    """Makes pictures into what a net's inputs take, and back.

    `inputs`: {input: the shape of its blob}. `preprocess` resizes, transposes, swaps channels, multiplies by the raw
    scale, subtracts the mean and multiplies by the input scale, in this order; what is not set is left out.
    Each method raises Exception for a name that is not among the inputs.
    """

    def __init__(self, inputs: dict[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def _check(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise Exception(f"{in_} is not one of the net inputs: {self.inputs}")

    def preprocess(self, in_: str, data: Array) -> Array:
        """A picture, height × width × channels, as the input takes it."""
        self._check(in_)
        values = data.astype(np.float32, copy=False)
        size = tuple(self.inputs[in_][2:])
        if values.shape[:2] != size:
            values = resize_image(values, size)
        if in_ in self.transpose:
            values = values.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            values = values[self.channel_swap[in_], :, :]
        if in_ in self.raw_scale:
            values = values * np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            values = (values - self.mean[in_]).astype(np.float32)
        if in_ in self.input_scale:
            values = values * np.float32(self.input_scale[in_])
        return values

    def deprocess(self, in_: str, data: Array) -> Array:
        """The picture of what an input was given: `preprocess` backwards, the size excepted."""
        self._check(in_)
        values = data.copy().squeeze()
        if in_ in self.input_scale:
            values = values / np.float32(self.input_scale[in_])
        if in_ in self.mean:
            values = (values + self.mean[in_]).astype(np.float32)
        if in_ in self.raw_scale:
            values = values / np.float32(self.raw_scale[in_])
        if in_ in self.channel_swap:
            values = values[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            values = values.transpose(np.argsort(self.transpose[in_]))
        return values

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of the axes: (2, 0, 1) puts channels first. Raises Exception for another number of axes."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise Exception("Transpose order needs to have the same number of dimensions as the input.")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """The order of the channels: (2, 1, 0) makes BGR of RGB. Raises Exception for another number of channels."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise Exception("Channel swap needs to have the same number of dimensions as the input channels.")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """What pictures are multiplied by before the mean: 255 for nets that were trained on 0 to 255."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Array) -> None:
        """What is subtracted: a value for each channel, or an array, which is resized to the input where need be.

        Raises ValueError for other channels or another number of axes.
        """
        self._check(in_)
        wanted = tuple(self.inputs[in_][1:])
        if mean.ndim == 1:
            if len(mean) != wanted[0]:
                raise ValueError("Mean channels incompatible with input.")
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.ndim not in (2, 3):
            raise ValueError("Mean shape invalid")
        elif (1, *mean.shape)[-3:] != wanted:
            mean = _resized_mean(mean if mean.ndim == 3 else mean[np.newaxis], wanted)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """What is multiplied by after the mean."""
        self._check(in_)
        self.input_scale[in_] = scale


def _resized_mean(mean: Array, wanted: tuple[int, ...]) -> Array:
    if len(mean) != wanted[0]:
        raise ValueError("Mean channels incompatible with input.")
    return resize_image(mean.transpose((1, 2, 0)), wanted[1:]).transpose((2, 0, 1))
