"""How many images a net may take at once, so that what it holds stays bounded.

The bounds are constants, not what is free: the parts that a batch is divided into, and the tiles of an image, decide
the last bits of its scores.
"""

from __future__ import annotations

import re
from pathlib import Path

from netc.errors import NetcError
from netc.graph.ir import Graph
from netc.layers.base import count

FLOAT = 4
LIMIT = 1 << 28
"""Bytes of blobs that exist at a time where several images are looked at."""

MOST = 64

LARGEST = 1 << 29
"""Bytes of blobs of one image; a larger image goes through the net by tiles."""


def peak(graph: Graph, image: str) -> int:
    """Bytes of the blobs of one image that exist at a time while a net runs, at most, as it lets go of each behind its
    last reader."""
    root = _roots(graph)
    last = {root[blob]: index for index, node in enumerate(graph.nodes) for blob in (*node.tops, *node.bottoms)}
    sizes: dict[str, int] = {}
    most = 0
    for index, node in enumerate(graph.nodes):
        sizes.update((root[top], count(shape)) for top, shape in zip(node.tops, node.top_shapes, strict=True))
        most = max(most, sum(sizes.values()))
        for blob in (*node.tops, *node.bottoms):
            if last[root[blob]] == index and blob not in graph.outputs:
                sizes.pop(root[blob], None)
    return max(1, FLOAT * most // graph.shapes[image][0])


def _roots(graph: Graph) -> dict[str, str]:
    """Blob → the one whose memory it is (Split)."""
    root: dict[str, str] = {}
    for node in graph.nodes:
        source = node.bottoms[0] if node.layer.copies_bottom else None
        root.update((top, root[source] if source else top) for top in node.tops)
    return root


def at_once(each: int) -> int:
    """How many images of so many bytes to give a net at once."""
    return max(1, min(MOST, LIMIT // each))


def check_memory(needed: int, what: str) -> None:
    """Raises NetcError R750 where less memory is left than this needs: the system would kill the process."""
    left = _left()
    if left is not None and needed > left:
        found = f"{what} needs {_size(needed)} of memory, and {_size(left)} are left"
        raise NetcError("R750", found, None, "take a smaller Q, or crops (view crops), or a machine with more memory")


def _left() -> int | None:
    """Bytes that the system would give, by Linux and by the control group of the process; None where nothing tells."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"))
    known = [1024 * int(found[1])] if found else []
    limit, used = (_read(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if limit.isdecimal() and used.isdecimal():
        known.append(max(0, int(limit) - int(used)))
    return min(known, default=None)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
