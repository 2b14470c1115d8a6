"""PREFIX.metrics.jsonl: one JSON object a displayed iteration or test, beside the snapshots.

{"netc_metrics": 1, "run": "vgg_A", "kind": "start", "iter": 0, "id": "5f0c…"}
{"run": "vgg_A", "kind": "train", "iter": 20, "loss": 6.9, "lr": 0.01, "outputs": {"loss": 6.8}, "seconds": 4.1,
 "images_per_second": 625.0, "data_wait_share": 0.01}
{"run": "vgg_A", "kind": "test", "iter": 20, "net": 0, "loss": 6.9, "outputs": {"accuracy": 0.1}, "batches": 5, …}

Further kinds: "snapshot", "warning" (`message`), "end" (`reason`). Lines are only ever added. A run that goes on from
a snapshot adds its "start": what stands above it from that iteration on is superseded, and `read` leaves it out. A run
with another `id` supersedes nothing: the records of both stand.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.files.durable import write_all
from netc.files.opening import read_bytes
from netc.files.owned import Foreign, open_own


def path_of(prefix: Path) -> Path:
    """The records of the run with this snapshot prefix."""
    return prefix.with_name(f"{prefix.name}.metrics.jsonl")


class Metrics:
    """The records of run `id` with snapshot prefix `prefix`, which begins or goes on at iteration `start`.

    Raises NetcError O613 where another program's file, or a link, has their name; OSError.
    """

    def __init__(self, prefix: Path, start: int, id: str = "") -> None:
        self.path, self.run = path_of(prefix), prefix.name
        mark = json.dumps({"netc_metrics": 1, "run": self.run})[:-1]
        try:
            self._file = open_own(self.path, mark.encode())
        except Foreign as error:
            message = f"the records of the training have no place: {error}"
            raise NetcError("O613", message, Place(str(self.path)), error.hint) from None
        self._torn = False
        self._end_line()
        own = f', "id": {json.dumps(id)}' if id else ""
        self._write(f'{mark}, "kind": "start", "iter": {start}{own}}}\n')

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; NaN and infinity become null, which JSON lacks. Raises OSError."""
        self._write(json.dumps(_plain({"run": self.run, **record})) + "\n")

    def _end_line(self) -> None:
        """What a killed process left without an end must not run into the next line."""
        size = os.fstat(self._file).st_size
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"

    def _write(self, line: str) -> None:
        text = ("\n" if self._torn else "") + line
        self._torn = True
        write_all(self._file, text.encode())
        self._torn = False

    def close(self) -> None:
        os.close(self._file)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_MOST_BYTES = 1 << 28
_RECORD = checked_json.Record(
    {"run": str, "kind": str, "iter": int},
    {
        **dict.fromkeys(("loss", "seconds", "images_per_second", "data_wait_share"), (None, float)),
        **dict.fromkeys(("net", "batches"), int),
        "lr": float,
        "id": str,
        "outputs": {str: (None, float, [(None, float)])},
    },
)


def read(path: Path, run: str | None = None, newest: bool = False) -> list[dict[str, Any]]:
    """The records of a metrics file, of all runs or of those with one prefix, without those that a later start of the
    same run superseded. `newest`: of each prefix, those of the run that started last. A line that a crash left
    unfinished, or that no run writes, is passed over. Raises OSError, NetcError F102 (not a regular file), F104 (too
    large)."""
    found: list[tuple[str, dict[str, Any]]] = []
    until: dict[tuple[str, str], int] = {}  # the first iteration that a later start of a run makes again
    last: dict[str, str] = {}
    for identity, record in reversed(_lines(path)):
        name, iteration = record["run"], record["iter"]
        key = (name, identity)
        if record["kind"] == "start":
            until[key] = min(iteration, until.get(key, iteration))
            last.setdefault(name, identity)
        elif run in (None, name) and iteration < until.get(key, math.inf):
            found.append((identity, record))
    return [record for identity, record in found[::-1] if not newest or last.get(record["run"], "") == identity]


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(id of its run, record) of each line."""
    found, ids = [], {}
    for line in read_bytes(path, _MOST_BYTES).splitlines() if path.exists() else ():
        try:
            record = checked_json.parse(line)
            checked_json.check(record, _RECORD)
        except ValueError:
            continue
        if record["kind"] == "start":
            ids[record["run"]] = record.get("id", "")
        found.append((ids.get(record["run"], ""), record))
    return found
