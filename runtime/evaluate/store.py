"""Posteriors (or features) kept on disk, look by look: fusion and tables are second passes, and a killed run goes on.

    FOLDER/<key of the net>/<look>/<hash of the batch>.posteriors (or .features)

A file holds the values of a batch: a line of JSON that says whose they are, then the SHA-256 of each record, then
the values. What is damaged, of another version, or not what its folder says is never used: a remark names it, and it is
computed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netc.errors import NetcError, printable
from netc.files import checked_json
from netc.files.durable import write_error, write_whole
from netc.files.opening import read_bytes
from netc.runtime.evaluate.classifier import VERSION, Posteriors
from netc.runtime.evaluate.protocol import Look

FORMAT = "netc {}"
"""With what a file holds, which also ends its name."""

_HASH = 32
_MOST = 1 << 28
_OPEN = 64
"""Batches that stay in memory."""

_HEAD = checked_json.Record(
    {"format": str, "version": int, "net": str, "look": str, "rows": int, "classes": int, "orders": int, "sha256": str}
)


class Store:
    """The posteriors of one net under a folder. `say`: what remarks go to. kind: what the values are."""

    def __init__(
        self, folder: str | os.PathLike[str], net: str, say: Callable[[str], None], kind: str = "posteriors"
    ) -> None:
        self.kind, self.format = kind, FORMAT.format(kind)
        self.folder, self.net, self._say = Path(folder, net), net, say
        self._known: dict[Look, dict[bytes, Path]] = {}
        self._open: dict[Path, dict[bytes, Posteriors]] = {}
        self._lock = threading.Lock()

    def look_up(self, looks: Iterable[Look]) -> None:
        """See what there is of these looks. What comes later, from here or from another process, is not looked at."""
        for look in looks:
            self._known.setdefault(look, self._index(look))

    def get(self, look: Look, record: bytes) -> Posteriors | None:
        """(2, classes) of a record, or None; `look_up` comes before it."""
        with self._lock:
            path = self._known[look].get(record)
            return None if path is None else self._opened(path, look).get(record)

    def put(self, look: Look, records: Sequence[bytes], found: Posteriors) -> None:
        """Keep a batch, (2, records, classes) or (1, records, values). Raises NetcError O165, X166, X167."""
        orders = 1 if np.array_equal(found[0], found[-1]) else 2
        values = np.ascontiguousarray(found[:orders].transpose(1, 0, 2)).astype("<f8", copy=False)
        body = b"".join(records) + values.tobytes()
        head = {"format": self.format, "version": VERSION, "net": self.net, "look": str(look), "rows": len(records)}
        head |= {"classes": values.shape[2], "orders": orders, "sha256": hashlib.sha256(body).hexdigest()}
        folder = self.folder / str(look)
        name = hashlib.sha256(b"".join(records)).hexdigest()[:32] + f".{self.kind}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(error, folder) from None
        write_whole(folder / name, [json.dumps(head).encode() + b"\n", body])

    def _index(self, look: Look) -> dict[bytes, Path]:
        """The records that files of a look hold; only one batch of them stays in memory."""
        folder, found = self.folder / str(look), {}
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            if name.endswith(f".{self.kind}"):
                path = folder / name
                found.update(dict.fromkeys(self._opened(path, look), path))
        return found

    def _opened(self, path: Path, look: Look) -> dict[bytes, Posteriors]:
        if path not in self._open:
            if len(self._open) >= _OPEN:
                self._open.pop(next(iter(self._open)))
            try:
                self._open[path] = self._batch(path, look)
            except (OSError, ValueError, NetcError) as error:
                reason = error.message if isinstance(error, NetcError) else error
                self._say(f"{printable(str(path))} is not used, but computed anew: {reason}")
                self._open[path] = {}
        return self._open[path]

    def _batch(self, path: Path, look: Look) -> dict[bytes, Posteriors]:
        """Raises OSError, ValueError with the reason why it is not used."""
        head, body = _parts(read_bytes(path, _MOST))
        wanted = {"format": self.format, "version": VERSION, "net": self.net, "look": str(look)}
        for name, value in wanted.items():
            if head[name] != value:
                raise ValueError(f"its {name} is {printable(str(head[name]))[:80]}, not {value}")
        if hashlib.sha256(body).hexdigest() != head["sha256"]:
            raise ValueError("it is damaged or cut off")
        rows, shape = head["rows"], (head["rows"], head["orders"], head["classes"])
        if min(shape) < 1 or len(body) != rows * _HASH + 8 * int(np.prod(shape, dtype=object)):
            raise ValueError("its sizes do not fit")
        values = np.frombuffer(body, "<f8", offset=rows * _HASH).reshape(shape)
        both = np.broadcast_to(values, (rows, 2, shape[2])) if shape[1] == 1 else values
        return {body[at * _HASH : (at + 1) * _HASH]: both[at] for at in range(rows)}


def other_nets(folder: str | os.PathLike[str], nets: Sequence[str]) -> int:
    """How many nets a folder has results of, none of them among these; 0 where it has those of one of these."""
    try:
        there = {name for name in os.listdir(folder) if len(name) == 64}
    except OSError:
        return 0
    return 0 if there & set(nets) else len(there)


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    end = content.find(b"\n", 0, 4096)
    if end < 0:
        raise ValueError("it is damaged or cut off")
    head = checked_json.parse(content[:end])
    checked_json.check(head, _HEAD)
    return head, content[end + 1 :]
