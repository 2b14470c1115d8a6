"""metrics.jsonl: one JSON object a displayed iteration or test, next to the snapshots."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import IO, Any


class Metrics:
    """Appends to `path`. A resumed run first drops what lies at or beyond the iteration it starts from, so that the
    file is what an undisturbed run would have written, times apart."""

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        self._file: IO[str] | None = None
        _cut(path, start)

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; NaN and infinity become null, which JSON lacks."""
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
        self._file.write(json.dumps(_plain(record)) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file; a last line that a crash left unfinished is passed over."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _cut(path: Path, start: int) -> None:
    """Keep the records before iteration `start`, replacing the file in one step."""
    if not path.exists():
        return
    kept = [record for record in read(path) if record.get("iter", start) < start]
    fresh = path.with_name(path.name + ".tmp")
    with fresh.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in kept)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
