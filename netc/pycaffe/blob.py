"""pycaffe's blobs, over numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.layers.base import Shape, count

Values = NDArray[Any]


class Blob:
    """Values and their gradient, in arrays that are written in place: `blob.data[...] = x`."""

    def __init__(self, shape: Shape = (), dtype: Any = np.float32) -> None:
        self._data: Values = np.zeros(shape, dtype)
        self._diff: Values = np.zeros(shape, dtype)

    @property
    def data(self) -> Values:
        return self._data

    @property
    def diff(self) -> Values:
        return self._diff

    @property
    def shape(self) -> Shape:
        return self._data.shape

    @property
    def count(self) -> int:
        return self._data.size

    @property
    def num(self) -> int:
        return self._legacy(0)

    @property
    def channels(self) -> int:
        return self._legacy(1)

    @property
    def height(self) -> int:
        return self._legacy(2)

    @property
    def width(self) -> int:
        return self._legacy(3)

    def __repr__(self) -> str:
        return f"<Blob {'×'.join(map(str, self.shape)) or 'scalar'}>"

    def _legacy(self, axis: int) -> int:
        return self.shape[axis] if axis < len(self.shape) else 1

    def reshape(self, *dims: int) -> None:
        """Give the blob another shape; its values stay where their number does, else they are 0."""
        shape = tuple(int(dim) for dim in dims)
        if any(dim < 0 for dim in shape):
            raise ValueError(f"a blob cannot have the shape {shape}")
        if count(shape) == self.count:
            self._data, self._diff = self._data.reshape(shape), self._diff.reshape(shape)
        else:
            self._data, self._diff = np.zeros(shape, self._data.dtype), np.zeros(shape, self._data.dtype)

    def hold(self, data: Values) -> None:
        """Take an array as the values (not a copy), with a gradient of 0."""
        self._data, self._diff = data, np.zeros(data.shape, data.dtype)

    def clear(self, dtype: Any) -> None:
        """Values and gradient 0, in another type where need be."""
        self._data, self._diff = np.zeros(self.shape, dtype), np.zeros(self.shape, dtype)

    def take_gradient(self, diff: Values) -> None:
        self._diff = diff


class BlobVec(list[Blob]):
    """The parameters of a Python layer, `self.blobs`."""

    def add_blob(self, *shape: int) -> None:
        """A parameter more, all 0 until `setup` writes into its `data`."""
        self.append(Blob(tuple(int(size) for size in shape)))
