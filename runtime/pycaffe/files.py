"""What pycaffe's nets write and check, and how errors of a user's own layers reach the program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from netc.errors import NetcError
from netc.files.durable import write_whole
from netc.layers.base import Shape
from netc.pycaffe.blob import Values
from netc.runtime.net.module import Net as Module
from netc.weights.formats.caffemodel import caffemodel_chunks, trained_net
from netc.weights.formats.hdf5 import hdf5_image

_OF_PYTHON_LAYERS = frozenset({"L332", "R650"})
"""Errors that stand for an exception of the user's."""


@contextmanager
def as_raised() -> Iterator[None]:
    """A Python layer's exception comes out as it was raised, with what netc knows of its place as a note."""
    try:
        yield
    except NetcError as error:
        if error.code not in _OF_PYTHON_LAYERS or error.__cause__ is None:
            raise
        raised = error.__cause__
        raised.add_note(str(error))
        raise raised from None


def save(module: Module, path: str | os.PathLike[str]) -> None:
    """Write a .caffemodel, whole or not at all."""
    write_whole(path, caffemodel_chunks(trained_net(module.graph.param), _arrays(module)))


def save_hdf5(module: Module, path: str | os.PathLike[str]) -> None:
    """Write a .caffemodel.h5: a group for each layer, as Net::ToHDF5."""
    arrays = _arrays(module)
    every = {name: arrays.get(name, ()) for name in (step.node.name for step in module.steps)}
    write_whole(path, [hdf5_image(every)])


def _arrays(module: Module) -> dict[str, list[Values]]:
    return {name: [tensor.detach().cpu().numpy() for tensor in tensors] for name, tensors in module.params.items()}


def check_arrays(data: Values, labels: Values, shape: Shape) -> None:
    """Whether arrays can feed a MemoryData layer whose batches have `shape`. Raises RuntimeError, as pycaffe."""
    for name, array, sizes in (("data", data, shape[1:]), ("labels", labels, (1, 1, 1))):
        if not array.flags.c_contiguous:
            raise RuntimeError(f"{name} must be C contiguous")
        if array.ndim != 4:
            raise RuntimeError(f"{name} must be 4-d")
        if array.dtype != np.float32:
            raise RuntimeError(f"{name} must be float32")
        for size, needed, axis in zip(array.shape[1:], sizes, ("number of channels", "height", "width")):
            if size != needed:
                raise RuntimeError(f"{name} has wrong {axis}")
    if len(data) != len(labels):
        raise RuntimeError("data and labels must have the same first dimension")
    if len(data) % shape[0]:
        raise RuntimeError("first dimensions of input arrays must be a multiple of batch size")
