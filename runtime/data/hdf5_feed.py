"""HDF5Data: the rows of datasets named like the tops, across the files of a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netc.errors import NetcError, Place
from netc.layers.base import Layer, Shape
from netc.paths import resolve
from netc.runtime import rand
from netc.runtime.data.records import shuffled


class HDF5Feed:
    """The feed of an HDF5Data layer (netc.runtime.data.Feed). Rows run on from file to file and wrap round.

    Raises NetcError D504 (empty list), D530 (no HDF5 file, a dataset that is missing, datasets of different lengths).
    """

    def __init__(self, layer: Layer, seed: int) -> None:
        self.layer, self.seed, self.waited = layer, seed, 0.0
        self.list = resolve(layer.options.source, layer.origin.start.path, "list of HDF5 files", layer.origin.start)
        names = Path(self.list).read_text("utf-8").split()
        if not names:
            raise NetcError("D504", f"the list {self.list} names no file", Place(self.list))
        self.files = [resolve(name, self.list, "HDF5 file", Place(self.list)) for name in names]
        self.rows = [self._load(path) for path in self.files]
        self.data = [np.concatenate(parts) for parts in zip(*self.rows, strict=True)]
        self.size: int | None = len(self.data[0])
        self.batch_size = int(layer.options.batch_size)
        self.shapes: list[Shape] = [(self.batch_size, *rows.shape[1:]) for rows in self.data]

    def _load(self, path: str) -> list[Any]:
        try:
            import h5py
        except ImportError:
            raise NetcError(
                "D530", "HDF5Data needs h5py", self.layer.origin.start, 'pip install "netc[hdf5]"'
            ) from None
        try:
            with h5py.File(path, "r") as file:
                arrays = [np.asarray(file[top], np.float32) for top in self.layer.param.top]
        except (OSError, KeyError) as error:
            raise NetcError("D530", f"{path}: {error}", Place(path), "each top needs a dataset of its name") from None
        if len({len(array) for array in arrays}) != 1:
            raise NetcError("D530", f"{path}: its datasets have {[len(a) for a in arrays]} rows", Place(path))
        return arrays

    def batch(self, k: int, stop: int | None = None) -> list[Tensor]:
        assert self.size is not None
        first = k * self.batch_size
        last = first + self.batch_size if stop is None else min(first + self.batch_size, stop)
        rows = [self._row(position) for position in range(first, last)]
        return [torch.from_numpy(array[rows]) for array in self.data]

    def _row(self, position: int) -> int:
        assert self.size is not None
        if not self.layer.options.shuffle:
            return position % self.size
        epoch, offset = divmod(position, self.size)
        order = self._file_order(epoch)
        for file in order:
            length = len(self.rows[file][0])
            if offset < length:
                start = sum(len(self.rows[f][0]) for f in range(file))
                return start + shuffled(length, epoch * length + offset, self.seed, self.layer.name, file)
            offset -= length
        raise AssertionError("the files' rows add up to the size")

    def _file_order(self, epoch: int) -> list[int]:
        return [int(i) for i in rand.permutation(len(self.files), self.seed, self.layer.name, "files", epoch)]

    def close(self) -> None:
        pass
