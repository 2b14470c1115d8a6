"""HDF5Data: the rows of datasets named like the tops, across the files of a list."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.files.paths import resolve
from netc.layers.base import Layer, Shape, format_shape
from netc.runtime.data.order import Order, Permutation
from netc.runtime.net import rand
from netc.runtime.parallel.shards import WHOLE, Shard, positions

Rows = list[NDArray[np.float32]]
"""Of one file: each top's rows."""


class HDF5Feed:
    """The feed of an HDF5Data layer (netc.runtime.data.Feed). Rows run on from file to file and wrap round; with
    `shuffle`, files come in a new order each epoch, and so do the rows of each. All files are held in memory.

    Raises NetcError D504 (empty list), D530 (no HDF5 file, a dataset that is missing, datasets that do not fit).
    """

    def __init__(self, layer: Layer, phase: int, seed: int, workers: int | None = None, opened: Any = None) -> None:
        self.layer, self.seed = layer, seed
        place = layer.origin.start
        files = [(path, _load(layer.param, path)) for path in _files(layer.param, place.path, place)]
        _check_axes(files)
        self.starts = np.cumsum([0, *(len(rows[0]) for _, rows in files)])
        self.data = [np.concatenate(parts) for parts in zip(*(rows for _, rows in files), strict=True)]
        self.size: int | None = len(self.data[0])
        self.batch_size = int(layer.options.batch_size)
        self.shapes: list[Shape] = [(self.batch_size, *rows.shape[1:]) for rows in self.data]
        self.order = Order(self.size, self._shuffled if layer.options.shuffle else None)

    def _shuffled(self, epoch: int) -> Permutation:
        key = (self.seed, self.layer.key, "shuffle", epoch)
        files = rand.permutation(len(self.starts) - 1, *key)
        lengths = np.diff(self.starts)
        return np.concatenate([self.starts[f] + rand.permutation(int(lengths[f]), *key, int(f)) for f in files])

    def batch(self, k: int, stop: int | None = None, shard: Shard = WHOLE, step: int = 1) -> list[Any]:
        import torch

        rows = [self.order[position] for position in positions(k, self.batch_size, stop, shard)]
        return [torch.from_numpy(top[rows]) for top in self.data]

    def close(self) -> None:
        pass


def shapes(param: Any, path: str) -> list[Shape]:
    """The top shapes of an HDF5Data layer, from its first file."""
    first = _load(param, _files(param, path, Place(path) if path else None)[0], _shape_alone)
    return [(int(param.hdf5_data_param.batch_size), *rows.shape[1:]) for rows in first]


def labels(param: Any, path: str) -> tuple[int, dict[int, list[int]]]:
    """The rows of all files, and the values of the tops that may be labels (one whole number a row), by top number."""
    files = [_load(param, name) for name in _files(param, path, None)]
    found: dict[int, list[int]] = {}
    for at, parts in enumerate(zip(*files, strict=True)):
        values = np.concatenate([rows.reshape(len(rows), -1) for rows in parts])
        if values.shape[1] == 1 and bool((values == np.floor(values)).all()):
            found[at] = [int(value) for value in values[:, 0]]
    return sum(len(rows[0]) for rows in files), found


def _files(param: Any, path: str, place: Place | None) -> list[str]:
    listed = resolve(param.hdf5_data_param.source, path, "list of HDF5 files", place)
    try:
        names = os.fsdecode(Path(listed).read_bytes()).split()
    except OSError as error:
        raise NetcError("X120", f"the list {listed} cannot be read: {error.strerror}", Place(listed)) from None
    if not names:
        raise NetcError("D504", f"the list {listed} names no file", Place(listed))
    return [resolve(name, listed, "HDF5 file", Place(listed)) for name in names]


def _values(dataset: Any) -> NDArray[np.float32]:
    return np.asarray(dataset, np.float32)


def _shape_alone(dataset: Any) -> NDArray[np.float32]:
    """An array of the dataset's shape that takes no memory."""
    return np.broadcast_to(np.float32(0), dataset.shape)


def _load(param: Any, path: str, read: Callable[[Any], NDArray[np.float32]] = _values) -> Rows:
    try:
        import h5py
    except ImportError:
        raise NetcError("D530", "HDF5Data needs h5py", Place(path), 'pip install "netc[hdf5]"') from None
    try:
        with h5py.File(path, "r") as file:
            rows = [read(file[top]) for top in param.top]
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise NetcError("D530", f"{path}: {error}", Place(path), "each top needs a dataset of its name") from None
    found = [format_shape(array.shape) for array in rows]
    if any(array.ndim == 0 for array in rows) or len({len(array) for array in rows}) != 1:
        raise NetcError("D530", f"{path}: datasets of {', '.join(found)} have no common number of rows", Place(path))
    return rows


def _check_axes(files: list[tuple[str, Rows]]) -> None:
    """All axes but the first agree between files."""
    first, wanted = files[0]
    for path, rows in files[1:]:
        for one, other in zip(wanted, rows, strict=True):
            if one.shape[1:] != other.shape[1:]:
                mine, others = format_shape(other.shape[1:]), format_shape(one.shape[1:])
                raise NetcError("D530", f"{path} has rows of {mine}, {first} of {others}", Place(path))
