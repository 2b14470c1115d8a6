"""A mean to subtract: the image of a .binaryproto, or the array of a .npy, which people keep beside pycaffe."""

from __future__ import annotations

import io

import numpy as np

from netc.errors import NetcError, Place
from netc.files.opening import open_regular, read_bytes
from netc.weights.arrays import Array
from netc.weights.reader import read_blob

NUMPY = b"\x93NUMPY"
MOST_BYTES = 1 << 30


def read_mean(path: str) -> Array:
    """(C, H, W), a mean image, or (C), a value a channel; finite numbers, colours in the order blue, green, red.

    Raises NetcError D507 (not such an array), F102 (not a regular file), F104 (larger than a mean), and as `read_blob`.
    """
    array = _of_numpy(path) if _is_numpy(path) else read_blob(path)
    if array.ndim >= 3 and array.size and array.size == np.prod(array.shape[-3:], dtype=object):
        array = array.reshape(array.shape[-3:])
    elif array.ndim != 1 or not array.size:
        raise _wrong(path, f"an array of {'×'.join(map(str, array.shape)) or 'one number'}")
    if not np.isfinite(array).all():
        raise NetcError("D507", f"the mean in {path} has a value that is not finite", Place(path), "compute it anew")
    return np.asarray(array, "<f4")


def _is_numpy(path: str) -> bool:
    try:
        with open_regular(path) as file:
            return file.read(len(NUMPY)) == NUMPY
    except OSError:
        return False  # told by read_blob


def _of_numpy(path: str) -> Array:
    content = read_bytes(path, MOST_BYTES)
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception as error:  # numpy's parser of headers raises many kinds
        raise _wrong(path, f"a damaged file of numpy's ({error})") from None
    count = int(np.prod(shape, dtype=object))
    if dtype.kind not in "iuf":
        raise _wrong(path, f"an array of {dtype}")
    if count * dtype.itemsize != len(content) - file.tell():
        raise _wrong(path, "a damaged file of numpy's: shape and length disagree")
    return np.frombuffer(content, dtype, count, file.tell()).reshape(shape, order="F" if fortran else "C")


def _wrong(path: str, what: str) -> NetcError:
    hint = "a mean is channels×height×width, or one number a channel; mean_value says it in the prototxt"
    return NetcError("D507", f"{path} is not a mean but {what}", Place(path), hint)
