"""HDF5Data: the rows of datasets named like the tops, across the files of a list."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.layers.base import Layer, Shape, format_shape
from netc.runtime.data.hdf5_rows import Array, Table, listed_files
from netc.runtime.data.order import Order, shuffled
from netc.runtime.parallel.shards import WHOLE, Shard, positions

HELD = 1 << 30
"""Rows of so many bytes are held in memory in any case; of more, if the files are nearly as large and the machine has
the room (`_fit`). Beyond that they are read when they are asked for, with the same result."""

MOST_LABELS = 200_000


class HDF5Feed:
    """The feed of an HDF5Data layer (netc.runtime.data.Feed). Rows run on from file to file and wrap round; with
    `shuffle`, they come in a new order each epoch.

    Raises NetcError D530 (datasets that do not fit, and what netc.runtime.data.hdf5_rows raises).
    """

    device = "cpu"

    def __init__(self, layer: Layer, phase: int, seed: int, workers: int | None = None, opened: Any = None) -> None:
        self.layer = layer
        place = layer.origin.start
        self.tables = [Table(path, list(layer.param.top)) for path in listed_files(layer.param, place.path, place)]
        _check_axes(self.tables)
        self.starts = np.cumsum([0, *map(len, self.tables)])
        self.size: int | None = int(self.starts[-1])
        if not self.size:
            raise NetcError("D504", f"{self.tables[0].path} has no rows", Place(self.tables[0].path))
        self.batch_size = int(layer.options.batch_size)
        self.shapes: list[Shape] = [(self.batch_size, *shape[1:]) for shape in self.tables[0].shapes]
        self.order = Order(self.size, shuffled(self.size, seed) if layer.options.shuffle else None)
        self._held: list[Array] | None = None
        if _fit(self.tables):
            self._held = self._read(np.arange(self.size))

    def batch(self, k: int, stop: int | None = None, shard: Shard = WHOLE, step: int = 1) -> list[Any]:
        import torch

        wanted = positions(k, self.batch_size, stop, shard)
        rows = np.array([self.order[position] for position in wanted], np.int64)
        tops = self._read(rows) if self._held is None else [top[rows] for top in self._held]
        return [torch.from_numpy(top) for top in tops]

    def _read(self, rows: NDArray[np.int64]) -> list[Array]:
        found = [np.empty((len(rows), *shape[1:]), np.float32) for shape in self.shapes]
        owners = np.searchsorted(self.starts, rows, side="right") - 1
        for owner in np.unique(owners):
            places = np.flatnonzero(owners == owner)
            parts = self.tables[owner].read(rows[places] - self.starts[owner])
            for top, part in zip(found, parts, strict=True):
                top[places] = part
        return found

    def record(self, position: int) -> str:
        """What stands at a position, in words."""
        row = self.order[position]
        owner = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"row {row - int(self.starts[owner])} of {self.tables[owner].path} (from 0)"

    def close(self) -> None:
        pass


def _fit(tables: Sequence[Table]) -> bool:
    """Whether all rows are to be held in memory."""
    rows, files = sum(table.bytes for table in tables), sum(os.path.getsize(table.path) for table in tables)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return rows <= HELD or (rows <= memory // 4 and rows <= 16 * files)


def shapes(param: Any, path: str) -> list[Shape]:
    """The top shapes of an HDF5Data layer, from its first file."""
    first = Table(listed_files(param, path, Place(path) if path else None)[0], list(param.top))
    return [(int(param.hdf5_data_param.batch_size), *shape[1:]) for shape in first.shapes]


def labels(param: Any, path: str) -> tuple[int, dict[int, list[int]]]:
    """The rows of all files, and the values of the tops that may be labels (one whole number a row), by top number: of
    the first MOST_LABELS rows."""
    tables = [Table(name, list(param.top)) for name in listed_files(param, path)]
    found: dict[int, list[int]] = {}
    for at, shape in enumerate(tables[0].shapes):
        if int(np.prod(shape[1:], dtype=object)) == 1:
            values = _first_values(tables, param.top[at])
            if bool((values == np.floor(values)).all()) and bool(np.isfinite(values).all()):
                found[at] = [int(value) for value in values]
    return sum(map(len, tables)), found


def _first_values(tables: Sequence[Table], top: str) -> Array:
    parts: list[Array] = []
    left = MOST_LABELS
    for table in tables:
        if count := min(left, len(table)):
            parts.append(Table(table.path, [top]).read(np.arange(count))[0].reshape(-1))
        left -= count
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _check_axes(tables: Sequence[Table]) -> None:
    """All axes but the first agree between files."""
    first = tables[0]
    for table in tables[1:]:
        for mine, theirs in zip(table.shapes, first.shapes, strict=True):
            if mine[1:] != theirs[1:]:
                found, others = format_shape(mine[1:]), format_shape(theirs[1:])
                message = f"{table.path} has rows of {found}, {first.path} of {others}"
                raise NetcError("D530", message, Place(table.path))
