"""The files that an HDF5Data layer reads: its list, and the rows of the datasets of each file.

A file is opened only as a regular file, its links are not followed, and no more of it is read than the rows that are
asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.files.hdf5 import Unfit, numbers
from netc.files.lines import numbered, read_text
from netc.files.opening import open_regular
from netc.files.paths import resolve
from netc.layers.base import Shape, format_shape
from netc.runtime.data.records import source_of

Array = NDArray[np.float32]

MOST_LIST = 1 << 24
"""Bytes of a list: some hundred thousand names."""

MOST_AT_ONCE = 1 << 30
"""Bytes of a row, and of the chunk that has to be unpacked for one: Caffe's blobs end at a few times that."""

_QUOTED = re.compile(r"""(["'])(.+)\1""")
_FILE = re.compile(r".*?\.(?:h5|hdf5|hdf|he5|mat)(?=[ \t]|$)[ \t]*", re.I)


def listed_files(param: Any, path: str, place: Place | None = None) -> list[str]:
    """The HDF5 files that the layer's list names, which may be absolute, or start from here or from the list's folder.

    Raises NetcError D503 (no source), D504 (an empty list), D531 (not a list), F120 (a file that is missing, with the
    line that names it).
    """
    file = resolve(source_of(param, place), path, "list of HDF5 files", place)
    found = [
        resolve(name, file, "HDF5 file", Place(file, number, 1, len(line), line))
        for number, line in numbered(read_text(file, "list of HDF5 files", MOST_LIST))
        for name in split_files(line)
    ]
    if not found:
        raise NetcError("D504", f"the list {file} names no file", Place(file))
    return found


def split_files(line: str) -> list[str]:
    """The names in a line: Caffe takes each word for one. A name may be quoted, and a word that does not end like an
    HDF5 file belongs to the next one that does."""
    if (quoted := _QUOTED.fullmatch(line)) is not None:
        return [quoted[2]]
    names = _FILE.findall(line)
    return [name.rstrip() for name in names] if names and "".join(names) == line else line.split()


class Table:
    """The rows of one file: `shapes` of the datasets called `tops`, whose first axis is the rows.

    Raises NetcError D530 for a file that cannot be read, a dataset that is missing, is a link, or has no numbers or no
    rows of this file's own.
    """

    def __init__(self, path: str, tops: Sequence[str]) -> None:
        self.path, self.tops = path, tops
        with self._reported(), self._opened() as sets:
            self.shapes: list[Shape] = [tuple(data.shape) for data in sets]
            for data, top in zip(sets, tops, strict=True):
                _check_size(data, top)
        found = ", ".join(map(format_shape, self.shapes))
        if any(not shape for shape in self.shapes) or len({shape[0] for shape in self.shapes}) != 1:
            raise self._error(f"datasets of {found} have no common number of rows")

    def __len__(self) -> int:
        return int(self.shapes[0][0])

    @property
    def bytes(self) -> int:
        """Of all rows as float32."""
        return 4 * sum(int(np.prod(shape, dtype=object)) for shape in self.shapes)

    def read(self, rows: NDArray[np.int64]) -> list[Array]:
        """These rows of each top, which may repeat, in any order."""
        wanted, back = np.unique(rows, return_inverse=True)
        whole = slice(int(wanted[0]), int(wanted[-1]) + 1) if wanted[-1] - wanted[0] + 1 == len(wanted) else None
        with self._reported(), self._opened() as sets:
            found = [np.asarray(data[whole if whole is not None else wanted], np.float32) for data in sets]
        return found if len(wanted) == len(rows) and (back[1:] > back[:-1]).all() else [part[back] for part in found]

    @contextmanager
    def _opened(self) -> Iterator[list[Any]]:
        import h5py

        with open_regular(self.path) as handle, h5py.File(handle, "r") as file:
            size = os.fstat(handle.fileno()).st_size
            yield [numbers(file, top, size) for top in self.tops]

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except ImportError:
            raise NetcError("D530", "HDF5Data needs h5py", Place(self.path), 'pip install "netc[hdf5]"') from None
        except NetcError:
            raise
        except Unfit as error:
            raise self._error(str(error)) from None
        except Exception as error:  # on damaged files h5py raises nearly anything
            raise self._error(str(error).split("\n")[0] or type(error).__name__) from None

    def _error(self, reason: str) -> NetcError:
        hint = "each top needs a dataset of its name in the file itself"
        return NetcError("D530", f"{self.path}: {reason}", Place(self.path), hint)


def _check_size(data: Any, top: str) -> None:
    """One row is never more than a machine can hold."""
    row = int(np.prod(data.shape[1:], dtype=object)) * max(4, data.dtype.itemsize)
    chunk = int(np.prod(data.chunks or (), dtype=object)) * data.dtype.itemsize
    for what, size in (("a row", row), ("a chunk", chunk)):
        if size > MOST_AT_ONCE:
            raise Unfit(f'{what} of "{top}" has {size:,} bytes, and at most {MOST_AT_ONCE:,} are read at once')
