"""numpy's .npz: the arrays of a net under "<layer>/<number of the blob>", as views of the mapped file if not packed.

What no name of a file should have (control characters, ":", "\\", "%", parts that are empty, "." or "..") is %XX
in a key, so that unpacking the archive harms nothing. A text may stand beside the arrays, as .json.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netc.errors import NetcError, Place
from netc.files.hdf5 import BEST_RATIO
from netc.weights.arrays import Array, Weights
from netc.weights.chunks import Sink, in_pieces, raw_bytes
from netc.weights.files import Unpacking
from netc.weights.pieces import pieces

_HEAD = 1 << 12
"""Bytes in which the header of any array of floats fits."""

_STEP = 1 << 20
_MOST_TEXT = 1 << 25
_EPOCH = (1980, 1, 1, 0, 0, 0)


SIGNATURE = b"PK\x03\x04"


def recognises(buffer: Any) -> bool:
    return bool(buffer[: len(SIGNATURE)] == SIGNATURE)


def read(path: str, buffer: Any, diffs: bool = False) -> Weights:
    """Layer name → arrays in Caffe's blob order. Raises NetcError W701 (another zip file), W702 (damaged), W704
    (sizes), W706 (names that are not blobs), W741 (arrays that are not floats)."""
    found: dict[str, dict[int, Array]] = {}
    unpacking = Unpacking(path, len(buffer))
    try:
        with zipfile.ZipFile(_Bytes(buffer)) as archive:
            members = archive.infolist()
            if not members or not all(member.filename.endswith((".npy", ".json")) for member in members):
                raise _foreign(path)
            for member in members:
                if member.filename.endswith(".json"):
                    continue
                layer, index = _split(path, member.filename.removesuffix(".npy"))
                blobs = found.setdefault(layer, {})
                if index in blobs:
                    raise _damaged(path, f'"{member.filename}" stands twice')
                blobs[index] = _array(path, buffer, archive, member, unpacking)
    except NetcError:
        raise
    except Exception as error:  # zipfile raises nearly anything on damaged files
        raise _damaged(path, f"{error}" or type(error).__name__) from None
    return Weights({layer: _in_order(path, layer, blobs) for layer, blobs in found.items()}, path)


def read_text(path: str, buffer: Any, name: str) -> str | None:
    """The text `name`.json in the archive, None where it is not there. Raises NetcError W702, W704."""
    name = f"{name}.json"
    try:
        with zipfile.ZipFile(_Bytes(buffer)) as archive:
            if name not in archive.namelist():
                return None
            member = archive.getinfo(name)
            _check_packing(path, member)
            if member.file_size > min(member.compress_size * BEST_RATIO, _MOST_TEXT):
                raise _sizes(path, member, f"claims {member.file_size:,} bytes")
            return archive.read(member).decode()
    except NetcError:
        raise
    except Exception as error:  # as in read
        raise _damaged(path, f"{error}" or type(error).__name__) from None


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
        return unquoted(layer), int(blob)
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


def _check_packing(path: str, member: zipfile.ZipInfo) -> None:
    """bzip2 and LZMA are unpacked without a bound: 4 KB of them may fill the memory. numpy writes neither."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        message = f'"{member.filename}" is packed by method {member.compress_type}, which numpy does not use'
        raise NetcError("W704", message, Place(path), "write the file again with numpy.savez")


def _array(path: str, buffer: Any, archive: zipfile.ZipFile, member: zipfile.ZipInfo, unpacking: Unpacking) -> Array:
    _check_packing(path, member)
    with archive.open(member) as file:
        head = file.read(_HEAD)
    stored = member.compress_type == zipfile.ZIP_STORED
    if member.file_size > member.compress_size * (1 if stored else BEST_RATIO):
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
        unpacking.take(member.file_size, f'"{member.filename}"')
        with archive.open(member) as file:
            flat = np.frombuffer(file.read(), dtype, count, start)
    array = flat.reshape(shape, order="F" if fortran else "C")
    if not dtype.isnative:
        unpacking.take(array.nbytes, f'"{member.filename}"')
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
    total = 0
    for piece in pieces(np.frombuffer(buffer, "u1", member.file_size, begin), _STEP):
        total = zlib.crc32(memoryview(piece.data), total)
    if total != member.CRC:
        raise _damaged(path, f'the check sum of "{member.filename}" is not that of its bytes')


def _foreign(path: str) -> NetcError:
    hint = "unpack a zip file first; load a checkpoint with torch, and save its state dict with safetensors"
    return NetcError("W701", "this is not a weight file but a zip file or a PyTorch checkpoint", Place(path), hint)


def _damaged(path: str, reason: str) -> NetcError:
    return NetcError("W702", f"the .npz file is damaged: {reason}", Place(path), "get it again")


def _sizes(path: str, member: zipfile.ZipInfo, what: str) -> NetcError:
    return NetcError("W704", f'"{member.filename}" {what}', Place(path), "get the file again from its source")


# -- writing -----------------------------------------------------------------------------------------------------------


def write_npz(sink: Sink, layers: Mapping[str, Sequence[Array]], card: Callable[[], str] | None = None) -> None:
    """Write layer → arrays to a path or an open binary file, uncompressed and streamed. `card` gives a JSON text; it is
    asked after them. Raises OSError, NetcError X110 (a mapped file that they lie in cannot be read any more)."""
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
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
            for piece in in_pieces(raw_bytes(array)):
                member.write(piece)


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
