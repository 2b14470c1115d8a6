"""Opening a weight file, and an error that says what it is instead."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

from netc.errors import NetcError, Place
from netc.files.opening import handle_of
from netc.files.paths import nearest_path
from netc.files.wire import is_onnx

_UNPACKED, _USUAL_RATIO = 1 << 28, 32
"""Packed arrays that come to so many bytes, or to so many times the file, are unpacked. Weights of which nineteen of
twenty are 0 take a twentieth; what takes less is not weights."""


class Unpacking:
    """The memory that arrays of one file may take that do not lie in it as such."""

    def __init__(self, path: str, size: int) -> None:
        self.path, self.most = path, max(_UNPACKED, _USUAL_RATIO * size)
        self._left = self.most

    def take(self, count: int, what: str) -> None:
        """Call it before `count` bytes are allocated. Raises NetcError W704 where there are too many in all."""
        self._left -= count
        if self._left < 0:
            message = f"{what} and what is packed before it would take more than {self.most:,} bytes of memory"
            raise NetcError("W704", message, Place(self.path), "are these weights? store them without compression")


WeightSource = str | os.PathLike[str] | bytes | bytearray | memoryview | mmap.mmap
"""Where a weight file comes from: a path, or its bytes, which may be what `map_file` gave."""

_ONNX = "netc writes ONNX and does not read it: give the .caffemodel that it was made from"
_KINDS = "netc reads .caffemodel, .caffemodel.h5, .safetensors and .npz"
_TORCH = "load it with torch, and save its state dict with safetensors.torch.save_file"
_BINARY = {
    **{bytes((0x80, protocol)): ("a Python pickle or an old PyTorch checkpoint", _TORCH) for protocol in range(2, 6)},
    b"\x1f\x8b": ("compressed with gzip", "unpack it first (gunzip)"),
    b"BZh": ("compressed with bzip2", "unpack it first (bunzip2)"),
    b"\xfd7zXZ\0": ("compressed with xz", "unpack it first (unxz)"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it first (unzstd)"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it first (7z x)"),
    b"Rar!\x1a\x07": ("a RAR archive", "unpack it first (unrar x)"),
    b"\x93NUMPY": (
        "a single array of numpy's",
        "name it as the blob of a layer: numpy.savez(OUT, **{'layer/0': array})",
    ),
    b"\x89PNG": ("a PNG picture", _KINDS),
    b"\xff\xd8\xff": ("a JPEG picture", _KINDS),
}
_TAR = b"ustar"
"""Where a tar archive has it: behind the first member's name, rights and times."""
_TAR_AT = 257
_TEXT = {
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "fetch the file with `git lfs pull`"),
    b"<": ("an HTML or XML page", "download the file itself, not the page that shows it"),
    b"": ("text, like a .prototxt", _KINDS),
}


class Mapped(mmap.mmap):
    """A mapped file that knows its name, its address and its open file (for `netc.weights.pieces`)."""

    name: str
    file: Any
    address: int


def open_source(source: WeightSource) -> tuple[str, Any]:
    """(name, bytes) of a weight file: mapped read-only if `source` is a path. Raises NetcError F110 (missing), X110
    (unreadable), W701 (empty, foreign)."""
    if isinstance(source, Mapped):
        return source.name, source
    if isinstance(source, bytes | bytearray | memoryview | mmap.mmap):
        _refuse_foreign("<bytes>", bytes(source[:512]))
        return "<bytes>", source
    return os.fspath(source), map_file(source)


def map_file(path: str | os.PathLike[str]) -> Mapped:
    """The file's bytes, mapped read-only. Raises NetcError F102 (not a regular file), F110 (missing), X110
    (unreadable), W701 (empty, foreign)."""
    name = os.fspath(path)
    try:
        buffer = _map(name)
    except OSError as error:
        raise cannot_read(name, error) from None
    _refuse_foreign(name, buffer[:512])
    if is_onnx(buffer):
        raise NetcError("W701", "this is not a weight file but an ONNX model", Place(name), _ONNX)
    return buffer


def _map(name: str) -> Mapped:
    """Raises OSError, NetcError F102, W701."""
    file = os.fdopen(handle_of(name), "rb", buffering=0)
    try:
        if not os.fstat(file.fileno()).st_size:
            raise _empty(name)
        buffer = Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
    except BaseException:
        file.close()
        raise
    buffer.name, buffer.file = name, file
    buffer.address = np.frombuffer(buffer, "u1").__array_interface__["data"][0]
    return buffer


def _empty(name: str) -> NetcError:
    return NetcError("W701", "the file is empty", Place(name), "was it copied completely?")


def cannot_read(name: str, error: OSError) -> NetcError:
    if isinstance(error, FileNotFoundError):
        near = nearest_path(name)
        end = f'; did you mean "{os.path.basename(near)}"?' if near else ""
        return NetcError("F110", f"there is no such file{end}", Place(name))
    return NetcError("X110", f"cannot be read: {error.strerror or error}", Place(name))


def _refuse_foreign(name: str, head: bytes) -> None:
    if not head:
        raise _empty(name)
    if head[6:9] == b"\0\0{":  # a .safetensors, the length of whose header may begin like anything
        return
    if head[_TAR_AT:].startswith(_TAR):
        raise NetcError("W701", "this is not a weight file but a tar archive", Place(name), "unpack it first (tar -xf)")
    known, head = (_TEXT, head.lstrip()) if _is_text(head) else (_BINARY, head)
    start = next((start for start in known if head.startswith(start)), None)
    if start is not None:
        what, hint = known[start]
        raise NetcError("W701", f"this is not a weight file but {what}", Place(name), hint)


def _is_text(head: bytes) -> bool:
    """A .caffemodel may begin with a line feed and a name, but not go on for long without a byte that is not text."""
    return all(byte in b"\t\n\r" or 0x20 <= byte < 0x7F for byte in head)
