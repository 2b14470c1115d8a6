"""numpy's .npz: one array a blob under "<layer>/<index>", uncompressed, and the card as `netc.json`.

`numpy.load` opens it; here the arrays are views of the mapped file. In a key, what no file name should have (control
characters, "\\\\", "%", empty parts, "." and "..") is written as %XX, so that unpacking the archive harms nothing.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from netc.errors import NetcError, Place
from netc.layers.base import MAX_AXES, MAX_COUNT
from netc.weights.arrays import Array, Weights
from netc.weights.tensors import raw_bytes

_EPOCH = (1980, 1, 1, 0, 0, 0)
_BEST_RATIO = 1100
"""Deflate cannot shrink data more than 1032 times."""
_MOST_MEMBERS = 300_000
_MOST_TEXT = 100_000_000
_HEAD = 1 << 16
"""Longest description of an array that is looked at."""


# -- reading -----------------------------------------------------------------------------------------------------------


def read_npz(path: str, buffer: Any) -> Weights:
    """Layer name → arrays of an .npz with keys "<layer>/<index>". Arrays that were stored uncompressed are views of the
    mapped file. Raises NetcError W702 (damaged), W706 (other keys), W704 (sizes the file does not back)."""
    found: dict[str, dict[int, Array]] = {}
    with _archive(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                layer, index = _split(path, member.filename.removesuffix(".npy"))
                found.setdefault(layer, {})[index] = _array(path, buffer, archive, member)
    for layer, blobs in found.items():
        if sorted(blobs) != list(range(len(blobs))):
            raise NetcError("W706", f'layer "{layer}" has blobs {sorted(blobs)}; some are missing', Place(path))
    return Weights({layer: [blobs[index] for index in sorted(blobs)] for layer, blobs in found.items()}, path)


def read_member(path: str, name: str) -> str | None:
    """A text in the archive, None where it is not there. Raises NetcError W702, W704."""
    with _archive(path) as archive:
        if name not in archive.namelist():
            return None
        member = archive.getinfo(name)
        _check_backed(path, member, _MOST_TEXT)
        return archive.read(member).decode()


@contextmanager
def _archive(path: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > _MOST_MEMBERS:
                raise ValueError(f"it has more than {_MOST_MEMBERS:,} members")
            yield archive
    except NetcError:
        raise
    except Exception as error:  # on damaged archives zipfile, zlib and numpy raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NetcError("W702", f"the .npz is damaged: {reason}", Place(path), "get it again") from None


def _split(path: str, key: str) -> tuple[str, int]:
    layer, slash, index = key.rpartition("/")
    if not slash or not index.isdecimal() or len(index) > 3:
        hint = "expected <layer>/<number of the blob>"
        raise NetcError("W706", f'the key "{key}" does not say which blob of which layer it is', Place(path), hint)
    return unquoted(layer), int(index)


def _array(path: str, buffer: Any, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    _check_backed(path, member, MAX_COUNT * 8 + _HEAD)
    stored = member.compress_type == zipfile.ZIP_STORED
    start = _data_start(buffer, member) if stored else 0
    data = memoryview(buffer)[start : start + member.file_size] if stored else memoryview(archive.read(member))
    if len(data) < member.file_size:
        raise ValueError(f'"{member.filename}" is cut off')
    head = io.BytesIO(bytes(data[:_HEAD]))
    read_head = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = read_head[np.lib.format.read_magic(head)](head)
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8) or len(shape) > MAX_AXES:
        raise ValueError(f'"{member.filename}" holds no array of floating-point numbers')
    values = data[head.tell() :]
    if any(size < 0 for size in shape) or len(values) != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise ValueError(f'"{member.filename}" holds {len(values):,} bytes, which its shape {shape} does not fit')
    flat = np.frombuffer(values, dtype) if len(values) else np.zeros(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _data_start(buffer: Any, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: behind its local header, whose two lengths may differ from the table's."""
    at = member.header_offset
    name, extra = (int.from_bytes(buffer[at + i : at + i + 2], "little") for i in (26, 28))
    return at + 30 + name + extra


def _check_backed(path: str, member: zipfile.ZipInfo, most: int) -> None:
    """Nothing is unpacked that the file does not hold."""
    if member.file_size > most or member.file_size > member.compress_size * _BEST_RATIO:
        raise NetcError(
            "W704",
            f'"{member.filename}" says {member.file_size:,} bytes, but the file holds {member.compress_size:,} of them',
            Place(path),
            "get the file again from its source",
        )


# -- writing -----------------------------------------------------------------------------------------------------------


def write_npz(file: IO[bytes], layers: Mapping[str, Sequence[Array]], card: Callable[[], str] | None = None) -> None:
    """Write layer → arrays to an open binary file, uncompressed and streamed; `card` gives a JSON text, and is
    asked after them. Raises OSError."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for layer, arrays in layers.items():
            for index, array in enumerate(arrays):
                _write(archive, f"{quoted(layer)}/{index}.npy", array)
        if card is not None:
            archive.writestr(zipfile.ZipInfo("netc.json", _EPOCH), card())


def _write(archive: zipfile.ZipFile, name: str, array: Array) -> None:
    head = io.BytesIO()
    kind = np.lib.format.dtype_to_descr(array.dtype.newbyteorder("<"))
    np.lib.format.write_array_header_1_0(head, {"descr": kind, "fortran_order": False, "shape": array.shape})
    with archive.open(zipfile.ZipInfo(name, _EPOCH), "w", force_zip64=True) as member:
        member.write(head.getvalue())
        if array.size:
            member.write(raw_bytes(array))


_UNSAFE = re.compile(r"[\x00-\x1f\x7f%\\:\ud800-\udfff]|^\.{1,2}(?=/|$)|(?<=/)\.{1,2}(?=/|$)|^(?=/|$)|(?<=/)(?=/|$)")


def quoted(name: str) -> str:
    """A layer's name as part of a key."""
    return _UNSAFE.sub(lambda found: _escaped(found[0]), name)


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape")) or "%"


def unquoted(name: str) -> str:
    raw = re.sub(rb"%([0-9A-F]{2})|%", lambda found: bytes.fromhex(found[1].decode()) if found[1] else b"", _raw(name))
    return raw.decode("utf-8", "surrogateescape")


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
