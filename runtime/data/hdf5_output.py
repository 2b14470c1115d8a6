"""The file of an HDF5Output layer: the rows of every pass, in memory that does not grow with them.

Rows go to files without a name, which vanish with the process however it ends. `publish` makes the HDF5 file of them,
in a folder beside its place, and gives it its name when it is whole.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.files.confined import Outside, below
from netc.files.durable import NO_PLACE, Staging, write_all
from netc.layers.base import Layer, format_shape
from netc.weights.formats.hdf5 import SIGNATURE, attribute, write_sets

SMALL = 1 << 22
"""Bytes of rows below which the file of a net that is called pass by pass is written anew at every pass."""

MARK = "netc"
"""The attribute of the file that says who wrote it."""


class Output:
    """The rows of one layer, and their file below `folder`.

    Raises NetcError D550 (rows of another shape), O900, X900 (the file cannot be written), O901 (a place that the net
    may not write to, or a file that HDF5Output did not write), W707 (h5py missing).
    """

    def __init__(self, layer: Layer, folder: str | os.PathLike[str]) -> None:
        self.name, self.type, self.place = layer.name, layer.type, layer.origin.place("hdf5_output_param.file_name")
        self.path = Path(layer.output_file)
        self._folder = Path(folder)
        self._spools: dict[str, _Spool] = {}
        self._written = 0
        self.check()

    def check(self) -> None:
        """Raise O901 unless the file may be written where it lies."""
        try:
            self.path = below(self._folder, os.fspath(self.path))
            if os.path.lexists(self.path) and not self._ours():
                raise self._forbidden(f"it exists, and no {self.type} layer wrote it")
        except Outside as error:
            raise self._forbidden(str(error)) from None
        except OSError as error:
            raise self._not_written(error) from None

    def _ours(self) -> bool:
        handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            is_hdf5 = file.read(len(SIGNATURE)) == SIGNATURE
            return is_hdf5 and attribute(file, MARK).startswith(self.type)

    @property
    def _bytes(self) -> int:
        return sum(spool.size for spool in self._spools.values())

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add a pass's rows: all of them, or none where it fails."""
        for name, array in arrays.items():
            if name in self._spools and self._spools[name].row != array.shape[1:]:
                raise self._misfit(name, self._spools[name].row, array.shape[1:])
        sizes = {name: spool.size for name, spool in self._spools.items()}
        try:
            for name, array in arrays.items():
                if name not in self._spools:
                    self._spools[name] = _Spool(self.path.parent, array)
                self._spools[name].append(array)
        except OSError as error:
            for name, spool in self._spools.items():
                spool.cut(sizes.get(name, 0))
            raise self._not_written(error) from error

    @property
    def due(self) -> bool:
        """Whether the file is small, or an eighth of it is new: writing it anew at each pass would take time that
        grows with the square of the passes."""
        return self._bytes < SMALL or 8 * (self._bytes - self._written) >= self._written

    def publish(self) -> None:
        """Give the file its name, with the rows so far; nothing where no row is new."""
        if self._bytes == self._written:
            return
        self.check()
        rows = {name: (spool.shape, spool.dtype, spool.file.fileno()) for name, spool in self._spools.items()}
        with Staging(self.path, self._not_written) as staging:
            write_sets(staging.path, rows, (MARK, f'{self.type} of the layer "{self.name}"'))
            staging.publish()
        self._written = self._bytes

    def discard(self) -> None:
        """Forget the rows."""
        for spool in self._spools.values():
            spool.file.close()
        self._spools.clear()
        self._written = 0

    def finish(self) -> None:
        """The last rows, when nobody is there any more to catch an error: it is printed."""
        try:
            self.publish()
        except NetcError as error:
            print(error, file=sys.stderr)
        self.discard()

    # -- what can go wrong ---------------------------------------------------------------------------------------------

    def _misfit(self, name: str, first: tuple[int, ...], other: tuple[int, ...]) -> NetcError:
        return NetcError(
            "D550",
            f'layer "{self.name}": rows of {format_shape(other)} do not fit into the dataset "{name}" of '
            f"{self.path}, which has {format_shape(first)}",
            self.place,
            "one file holds rows of one shape: bring the images to one size",
        )

    def _forbidden(self, why: str) -> NetcError:
        hint = "a net writes below the working folder, or below --output-dir (output_dir=), and through no link"
        hint = "move that file away, or change file_name" if "exists" in why else hint
        return NetcError("O901", f'layer "{self.name}": {self.path} is not written: {why}', self.place, hint)

    def _not_written(self, error: OSError) -> NetcError:
        code = "O900" if error.errno in NO_PLACE else "X900"
        message = f'layer "{self.name}": {self.path} cannot be written: {error.strerror or error}'
        return NetcError(code, message, self.place or Place(str(self.path)), "the rows of earlier passes are untouched")


class _Spool:
    """Rows of one dataset, one after the other in a file without a name."""

    def __init__(self, folder: Path, first: NDArray[Any]) -> None:
        self.row, self.dtype, self.size = first.shape[1:], first.dtype, 0
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (open as long as the net)

    @property
    def shape(self) -> tuple[int, ...]:
        each = int(np.prod(self.row, dtype=np.int64)) * self.dtype.itemsize
        return (self.size // each if each else 0, *self.row)

    def append(self, array: NDArray[Any]) -> None:
        write_all(self.file.fileno(), np.ascontiguousarray(array, self.dtype).data.cast("B"))
        self.size += array.nbytes

    def cut(self, size: int) -> None:
        self.file.truncate(size)
        self.file.seek(size)
        self.size = size
