"""What may be taken from an HDF5 file: objects that lie in that very file, and numbers that it holds.

A link leads to another object or another file, an external or virtual dataset has its values in other files, and a
dataset may claim terabytes of which nothing is written. Whatever reads HDF5 looks its objects up here.
"""

from __future__ import annotations

from typing import Any

from netc.errors import NetcError, Place

BEST_RATIO = 1100
"""Deflate cannot shrink data more than 1032 times; a part of a file that claims more is not backed by it."""


class Unfit(Exception):
    """Something in the file is not what it should be; the text says what."""


def h5py_module(path: str) -> Any:
    """h5py, for a file. Raises NetcError W707 where it is not installed."""
    try:
        import h5py
    except ImportError:
        place, hint = Place(path) if path else None, "pip install 'netc[hdf5]'"
        raise NetcError("W707", "HDF5 files need h5py, which is not installed", place, hint) from None
    return h5py


def own(parent: Any, name: str) -> Any:
    """parent[name], if every part of the name is an object of this file and not a link. Raises Unfit."""
    import h5py

    for part in name.split("/"):
        link = parent.get(part, getlink=True) if hasattr(parent, "keys") and part else None
        if link is None:
            raise Unfit(f'it has no "{name}"')
        if not isinstance(link, h5py.HardLink):
            raise Unfit(f'"{part}" is a link')
        parent = parent[part]
    return parent


def numbers(parent: Any, name: str, size: int) -> Any:
    """The dataset parent[name], if its values are numbers that this file, of `size` bytes, holds. Raises Unfit."""
    data = own(parent, name)
    if not hasattr(data, "dtype"):
        raise Unfit(f'"{name}" is not a dataset')
    if data.dtype.kind not in "biuf":
        raise Unfit(f'"{name}" holds no numbers, but {data.dtype}')
    if (reason := unbacked(data, size)) is not None:
        raise Unfit(f'"{name}" {reason}')
    return data


def unbacked(data: Any, size: int | None = None) -> str | None:
    """Why the file, of `size` bytes, does not hold a dataset's values; None where it does."""
    if data.shape is None:
        return "is empty: it has no shape"
    if data.is_virtual or data.external:
        return "has its values in other files, which are not opened"
    stored = data.id.get_storage_size()
    stored = stored if size is None else min(stored, size)
    if data.nbytes > stored * (BEST_RATIO if data.chunks and _filtered(data) else 1):
        return f"says {data.nbytes:,} bytes, but the file holds {stored:,} of them"
    return None


def _filtered(data: Any) -> bool:
    return bool(data.id.get_create_plist().get_nfilters())
