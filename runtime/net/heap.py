"""How the C library keeps memory that blobs had, in a process that does nothing but compute."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""glibc's numbers (mallopt(3))."""

KEPT = 1 << 29
"""Bytes."""


def keep_heap() -> None:
    """Let glibc keep up to `KEPT` bytes that are free, and take blobs of up to as many out of them.

    By default each blob of more than 32 MB goes back to the system when it is free, and so does the top of each
    thread's heap. The next layer gets zeroed pages anew, one page fault for 4 KB: 15 to 25 % of the time of a net
    (docs/benchmarks.md). One heap for all threads, as those of threads are too small for blobs. Nothing happens with
    another C library, and where the environment has settings of its own.
    """
    if "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for name, value in ((_MMAP_THRESHOLD, KEPT), (_TRIM_THRESHOLD, KEPT), (_ARENA_MAX, 1)):
            mallopt(name, value)
