"""numpy's .npz: the arrays of a net under "<layer>/<number of the blob>", as views of the mapped file if not packed."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

import numpy as np

from netc.errors import NetcError, Place
from netc.weights.arrays import Array, Weights

_HEAD = 1 << 12
"""Bytes in which the header of any array of floats fits."""

_BEST_RATIO = 1100
"""Deflate cannot shrink data more than 1032 times; a member that claims more is not backed by the file."""

_STEP = 1 << 22


def read_npz(path: str, buffer: Any) -> Weights:
    """Layer name → arrays in Caffe's blob order. Raises NetcError W701 (another zip file), W702 (damaged), W704
    (sizes), W706 (names that are no blobs), W741 (arrays that are no floats)."""
    found: dict[str, dict[int, Array]] = {}
    try:
        with zipfile.ZipFile(_Bytes(buffer)) as archive:
            members = archive.infolist()
            if not members or not all(member.filename.endswith(".npy") for member in members):
                raise _foreign(path)
            for member in members:
                layer, index = _split(path, member.filename.removesuffix(".npy"))
                blobs = found.setdefault(layer, {})
                if index in blobs:
                    raise _damaged(path, f'"{member.filename}" stands twice')
                blobs[index] = _array(path, buffer, archive, member)
    except NetcError:
        raise
    except Exception as error:  # zipfile raises nearly anything on damaged files
        raise _damaged(path, f"{error}" or type(error).__name__) from None
    return Weights({layer: _in_order(path, layer, blobs) for layer, blobs in found.items()}, path)


class _Bytes(io.RawIOBase):
    """A buffer as a file, without a copy of it."""

    def __init__(self, buffer: Any) -> None:
        self._bytes, self._at = memoryview(buffer), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, len(self._bytes))[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = len(self._bytes) if size < 0 else min(len(self._bytes), self._at + size)
        piece = bytes(self._bytes[self._at : end])
        self._at += len(piece)
        return piece


def _split(path: str, key: str) -> tuple[str, int]:
    layer, slash, blob = key.rpartition("/")
    if slash and layer and blob.isdecimal() and blob.isascii() and len(blob) < 4:
        return layer, int(blob)
    raise NetcError(
        "W706",
        f'the array "{key}" does not say which blob of which layer it is',
        Place(path),
        "expected <layer>/<number of the blob>",
    )


def _in_order(path: str, layer: str, blobs: dict[int, Array]) -> list[Array]:
    if sorted(blobs) != list(range(len(blobs))):
        raise NetcError("W706", f'layer "{layer}" has blobs {sorted(blobs)}; some are missing', Place(path))
    return [blobs[index] for index in range(len(blobs))]


def _array(path: str, buffer: Any, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        head = file.read(_HEAD)
    stored = member.compress_type == zipfile.ZIP_STORED
    if member.file_size > member.compress_size * (1 if stored else _BEST_RATIO):
        raise _sizes(path, member, f"claims {member.file_size:,} bytes, and the file has {member.compress_size:,}")
    source = io.BytesIO(head)
    version = np.lib.format.read_magic(source)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(source)
    if dtype.kind != "f" or dtype.itemsize > 8:
        hint = "weights are float16, float32 or float64"
        raise NetcError(
            "W741", f'the array "{member.filename}" is of type {dtype}, which no blob is', Place(path), hint
        )
    start = source.tell()
    count = int(np.prod(shape, dtype=object))
    if count * dtype.itemsize != member.file_size - start:
        raise _sizes(path, member, f"has shape {shape} and {member.file_size - start:,} bytes of values")
    if stored:
        begin = _begin(path, buffer, member)
        _check_sum(path, buffer, begin, member)
        flat = np.frombuffer(buffer, dtype, count, begin + start) if count else np.zeros(0, dtype)
    else:
        with archive.open(member) as file:
            flat = np.frombuffer(file.read(), dtype, count, start)
    array = flat.reshape(shape, order="F" if fortran else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("<"))


def _begin(path: str, buffer: Any, member: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its own header, whose last two parts vary in length."""
    head = bytes(buffer[member.header_offset : member.header_offset + 30])
    begin = member.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    if len(head) < 30 or begin + member.file_size > len(buffer):
        raise _damaged(path, f'"{member.filename}" ends beyond the file')
    return begin


def _check_sum(path: str, buffer: Any, begin: int, member: zipfile.ZipInfo) -> None:
    """zipfile checks it where it reads a member to its end, which is not done here. By way of pread, as the values."""
    from netc.weights.pieces import pieces

    total = 0
    for piece in pieces(np.frombuffer(buffer, "u1", member.file_size, begin), _STEP):
        total = zlib.crc32(memoryview(piece.data), total)
    if total != member.CRC:
        raise _damaged(path, f'the check sum of "{member.filename}" is not that of its bytes')


def _foreign(path: str) -> NetcError:
    hint = "netc reads .caffemodel, .caffemodel.h5, .safetensors and .npz"
    return NetcError("W701", "this is no weight file but a zip file or a PyTorch checkpoint", Place(path), hint)


def _damaged(path: str, reason: str) -> NetcError:
    return NetcError("W702", f"the .npz file is damaged: {reason}", Place(path), "get it again")


def _sizes(path: str, member: zipfile.ZipInfo, what: str) -> NetcError:
    return NetcError("W704", f'"{member.filename}" {what}', Place(path), "get the file again from its source")
