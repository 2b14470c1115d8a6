"""The file of an HDF5Output layer: the rows of every pass so far, whole at any moment.

HDF5 cannot be extended safely in place: a process that is killed while it does leaves a file that nothing reads. So the
file is written anew under another name and renamed. To write the whole at every pass would take time that grows with
the square of the passes; rows wait in memory until they are an eighth of what the file holds, or the net goes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.files.durable import write_whole
from netc.layers.base import Layer, format_shape
from netc.weights.formats.hdf5 import hdf5_sets

SMALL = 1 << 22
"""Bytes of rows below which every pass is written at once."""


class Output:
    """The rows of one layer, and their file.

    Raises NetcError D550 (rows of another shape), O900, X900 (the file cannot be written).
    """

    def __init__(self, layer: Layer, path: str) -> None:
        self.name, self.place, self.path = layer.name, layer.origin.place("hdf5_output_param.file_name"), Path(path)
        self.rows: dict[str, list[NDArray[Any]]] = {}
        self._waiting = self._written = 0

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add a pass's rows, and write the file where it is time."""
        for name, array in arrays.items():
            rows = self.rows.setdefault(name, [])
            if rows and rows[0].shape[1:] != array.shape[1:]:
                raise self._misfit(name, rows[0].shape, array.shape)
            rows.append(array)
        self._waiting += sum(array.nbytes for array in arrays.values())
        if not self._written or self._waiting + self._written < SMALL or 8 * self._waiting >= self._written:
            self.write()

    def write(self) -> None:
        """Write the file if rows are waiting."""
        if not self._waiting:
            return
        image = hdf5_sets({name: np.concatenate(rows) for name, rows in self.rows.items()})
        write_whole(self.path, [image], self._not_written)
        self._written, self._waiting = self._written + self._waiting, 0

    def finish(self) -> None:
        """The last rows, when nobody is there any more to catch an error: it is printed."""
        try:
            self.write()
        except NetcError as error:
            print(error, file=sys.stderr)

    def _misfit(self, name: str, first: tuple[int, ...], other: tuple[int, ...]) -> NetcError:
        return NetcError(
            "D550",
            f'layer "{self.name}": rows of {format_shape(other[1:])} do not fit into the dataset "{name}" of '
            f"{self.path}, which has {format_shape(first[1:])}",
            self.place,
            "one file holds rows of one shape: bring the images to one size",
        )

    def _not_written(self, error: OSError) -> NetcError:
        code = "O900" if not os.access(self.path.parent, os.W_OK) or self.path.is_dir() else "X900"
        message = f'layer "{self.name}": {self.path} cannot be written: {error.strerror or error}'
        return NetcError(code, message, self.place or Place(str(self.path)), "the rows of earlier passes are untouched")
