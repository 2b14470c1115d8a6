"""What engines made, kept on the disk: a folder for each set of weights, with the programs that use them.

It lies in $NETC_CACHE, else in $XDG_CACHE_HOME/netc, else in ~/.cache/netc. Names are hashes of everything that a file
depends on, versions included, and each file appears whole or not at all, so that several processes may fill it at once.
Nothing in it is trusted: sizes are compared, and what an engine computes is proved in each process.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from netc.errors import NetcError, Place
from netc.errors.words import in_bytes
from netc.files.durable import write_whole
from netc.files.hashing import Chunk

LIMIT = 8 << 30
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_USED = "used"
_WRITING = threading.Lock()

Say = Callable[[str], None]


def root() -> Path:
    given = os.environ.get("NETC_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base if base and os.path.isabs(base) else _home() / ".cache") / "netc"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user whom the system does not know: nothing can be made in this
        return Path(os.devnull)


def is_writable() -> bool:
    """Whether files can be made in it."""
    with suppress(OSError):
        root().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root()):
            return True
    return False


def processor() -> str:
    """What programs that were compiled for this one depend on: homes may be shared by machines."""
    return torch.backends.cpu.get_cpu_capability() + platform.processor() + platform.machine() + _features()


def _features() -> str:
    with suppress(OSError), open("/proc/cpuinfo", "rb") as file:
        lines = file.read(1 << 16).decode("ascii", "replace").splitlines()
        return next((line for line in lines if line.startswith("flags")), "")
    return ""


def limit() -> int:
    """Bytes, from $NETC_CACHE_LIMIT ("20G"). Raises NetcError C291."""
    text = os.environ.get("NETC_CACHE_LIMIT", "").strip().upper()
    if not text:
        return LIMIT
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1] in UNITS else (text, 1)
    try:
        found = int(float(number) * unit)
    except (ValueError, OverflowError):
        found = -1
    if found < 0:
        raise NetcError("C291", f'NETC_CACHE_LIMIT is "{text}", not a size', None, "such as 20G, or a number of bytes")
    return found


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder of the cache: its bytes, and when it was used last, in seconds since 1970."""

    path: Path
    size: int
    used: float


def entries() -> list[Entry]:
    """What there is, the one used last first."""
    found = []
    with suppress(OSError):
        for path in root().iterdir():
            if path.is_dir() and not path.is_symlink():
                found.append(Entry(path, _size(path), _last_use(path)))
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def _last_use(path: Path) -> float:
    for name in (path / _USED, path):
        with suppress(OSError):
            return name.stat().st_mtime
    return 0.0


def _size(path: Path) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def clear() -> int:
    """Remove all of it; how many bytes that were. Raises NetcError O165."""
    total = 0
    for entry in entries():
        try:
            shutil.rmtree(entry.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            message = f"the cache cannot be removed: {error.strerror or error}"
            raise NetcError("O165", message, Place(str(entry.path)), "remove it by hand") from error
        total += entry.size
    return total


def trim(keep: Path) -> None:
    """Remove what was used longest ago until the rest is within the limit; `keep` stays. (A file that another process
    has mapped lives on in it.)"""
    room = limit() - _size(keep)
    for entry in entries():
        if entry.path == keep:
            continue
        room -= entry.size
        if room < 0:
            shutil.rmtree(entry.path, ignore_errors=True)


def digest(*parts: Any) -> str:
    """A name made of everything that something depends on."""
    sha = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes | memoryview) else repr(part).encode()
        sha.update(len(data).to_bytes(8, "little"))
        sha.update(data)
    return sha.hexdigest()[:32]


def digest_of_arrays(arrays: Sequence[Any]) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(repr(array.shape).encode())
        sha.update(memoryview(array.reshape(-1)).cast("B") if array.size else b"")
    return sha.hexdigest()[:32]


class Folder:
    """The folder for one set of weights; a temporary one, which goes with the process, where the disk has no room or
    may not be written to, or a file is larger than the limit (which `say` hears of), and with a limit of 0.
    `found`: whether anything in it was there before."""

    def __init__(self, name: str, say: Say) -> None:
        self.path, self._say, self.found = root() / name, say, False
        if not limit():
            self._take_temporary()
            return
        try:
            self.found = self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / _USED).touch()
            os.utime(self.path / _USED, (time.time(), time.time()))
        except OSError as error:
            self._elsewhere(error.strerror or str(error))

    def _elsewhere(self, why: str) -> None:
        self._say(f"the cache in {root()} is not used: {why}")
        self._take_temporary()

    def _take_temporary(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="netc-engine-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def remove(self) -> None:
        """All that is in it, as far as that is possible."""
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name: str, size: int, chunks: Callable[[], Iterable[Chunk]]) -> Path:
        """A file of that name and size, written unless it is there. Raises NetcError X166, X167, O165 where not even
        the folder for temporary files has room."""
        with _WRITING:
            return self._file(name, size, chunks)

    def _file(self, name: str, size: int, chunks: Callable[[], Iterable[Chunk]]) -> Path:
        path = self.path / name
        with suppress(OSError):
            if path.stat().st_size == size:
                return path
        before = self.path
        if self.path.parent == root() and size > limit():
            self._elsewhere(f"{in_bytes(size)} are more than NETC_CACHE_LIMIT")
            return self._file(name, size, chunks)
        try:
            write_whole(path, chunks())
        except NetcError as error:
            if self.path != before or self.path.parent != root():
                raise
            self._elsewhere(error.message)
            return self._file(name, size, chunks)
        trim(self.path)
        return path
