"""metrics.jsonl: one JSON object a displayed iteration or test, in the folder of the snapshots.

{"run": "vgg_A", "kind": "train", "iter": 20, "loss": 6.9, "lr": 0.01, "outputs": {"loss": 6.8}, "seconds": 4.1,
 "images_per_second": 625.0, "data_wait_share": 0.01}
{"run": "vgg_A", "kind": "test", "iter": 20, "net": 0, "loss": 6.9, "outputs": {"accuracy": 0.1}, "batches": 5, …}
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from netc.files import checked_json
from netc.files.durable import write_whole
from netc.files.opening import read_bytes


class Metrics:
    """The records of the run with snapshot prefix `prefix`, in a file that several runs of a folder share.

    A run that starts at iteration `start` first drops its own records from there on, so that the file is what an
    undisturbed run would have written, times apart. The file is opened for each record: another run may replace it.
    """

    def __init__(self, prefix: Path, start: int) -> None:
        self.path, self.run = prefix.with_name("metrics.jsonl"), prefix.name
        self._cut(start)

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; NaN and infinity become null, which JSON lacks. Raises OSError."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain({"run": self.run, **record})) + "\n")

    def _cut(self, start: int) -> None:
        """Keep the other runs' records and those before iteration `start`, replacing the file in one step."""
        records = read(self.path)
        kept = [record for record in records if record.get("run") != self.run or record.get("iter", start) < start]
        if not self.path.exists():
            return
        write_whole(self.path, ((json.dumps(record) + "\n").encode() for record in kept))


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
        "outputs": {str: (None, float, [(None, float)])},
    },
)


def read(path: Path, run: str | None = None) -> list[dict[str, Any]]:
    """The records of a metrics file, of all runs or of one; a line that a crash left unfinished, or
    that no run writes, is passed over. Raises OSError, NetcError F102 (not a regular file), F104 (too large)."""
    found = []
    for line in read_bytes(path, _MOST_BYTES).splitlines() if path.exists() else ():
        try:
            record = checked_json.parse(line)
            checked_json.check(record, _RECORD)
        except ValueError:
            continue
        if run in (None, record["run"]):
            found.append(record)
    return found
