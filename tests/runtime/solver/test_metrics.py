"""metrics.jsonl: several runs in one file, resuming, and lines that a crash cut off."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from netc.errors import NetcError
from netc.runtime.solver import preflight
from netc.runtime.solver.metrics import Metrics, read


def test_a_run_drops_only_its_own_later_records(tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 0)):
        run = Metrics(tmp_path / name, start)
        for iteration in range(4):
            run.write({"kind": "train", "iter": iteration})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"run": "a", "it')
    Metrics(tmp_path / "a", 2).write({"kind": "train", "iter": 2, "loss": math.nan})
    found = [(record["run"], record["iter"]) for record in read(tmp_path / "metrics.jsonl")]
    assert found == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("b", 3), ("a", 2)]
    assert read(tmp_path / "metrics.jsonl", "a")[-1]["loss"] is None
    assert all(json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())


def test_room_for_a_snapshot(tmp_path: Path) -> None:
    preflight.check_folder(tmp_path / "new" / "folder" / "run", 1000)
    assert (tmp_path / "new" / "folder").is_dir()
    with pytest.raises(NetcError, match="free") as caught:
        preflight.check_folder(tmp_path / "run", 1 << 60)
    assert (caught.value.code, caught.value.exit_status) == ("X610", 74)
