"""A tensor, and the numpy array by which a program reads and writes it."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from netc.pycaffe.blob import Values


class Memory:
    """A tensor with its array.

    On a CPU the array is the tensor's memory. One that the program still holds when a pass computes another tensor gets
    the new values (`settle`), as the array of a blob in Caffe does. On a GPU the array is a copy on the host, brought
    up to date when it is asked for, and carried back before the tensor is used next: Caffe's SyncedMemory.
    """

    __slots__ = ("_array", "_host", "_tensor", "_written")

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self._array: weakref.ref[Values] | None = None
        self._host: Values | None = None
        self._written = False
        """Whether the host's copy may have been written to since it was last carried over."""

    @property
    def tensor(self) -> Tensor:
        if self._written:
            self._carry()
        return self._tensor

    def become(self, tensor: Tensor) -> None:
        """Take another tensor as the values."""
        self._tensor, self._written = tensor, False

    def array(self) -> Values:
        """The values, writable, the same object as long as somebody holds it."""
        return self._shared() if self._tensor.is_cpu else self._copied()

    @property
    def shown(self) -> bool:
        """Whether a program may hold the array."""
        return self._host is not None or (self._array is not None and self._array() is not None)

    def settle(self) -> None:
        """Put the values into the array that a program holds, and go on in its memory."""
        array = self._array() if self._array is not None else None
        if array is None or array.shape != tuple(self._tensor.shape):
            self._array = None
        elif array.ctypes.data != self._tensor.data_ptr():
            memory = torch.from_numpy(array)
            memory.copy_(self._tensor.detach())
            self._tensor.data = memory

    # -- on a CPU ------------------------------------------------------------------------------------------------------

    def _shared(self) -> Values:
        array = self._array() if self._array is not None else None
        if array is not None and array.ctypes.data == self._tensor.data_ptr():
            return array
        if not self._tensor.is_contiguous():
            self._tensor.data = self._tensor.detach().contiguous()
        made: Values = self._tensor.detach().numpy()
        self._array = weakref.ref(made)
        return made

    # -- on a GPU ------------------------------------------------------------------------------------------------------

    def _copied(self) -> Values:
        if not self._written:
            if self._host is None or self._host.shape != tuple(self._tensor.shape):
                self._host = torch.empty(self._tensor.shape, dtype=self._tensor.dtype).numpy()
            torch.from_numpy(self._host).copy_(self._tensor.detach())
        self._written = True
        assert self._host is not None
        return self._host

    def _carry(self) -> None:
        assert self._host is not None
        self._written = False
        self._tensor.data.copy_(torch.from_numpy(self._host))
