"""metrics.jsonl: several runs in one file, resuming, and lines that a crash cut off."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from netc.errors import NetcError
from netc.runtime.report.curves import panels_of
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


ODD = (
    "null",
    "5",
    '"train"',
    "[]",
    '{"run": "a", "kind": "train", "iter": "1"}',
    '{"run": "a", "kind": "train", "iter": null}',
    '{"run": ["a"], "kind": "train", "iter": 1}',
    '{"run": "a", "kind": "train", "iter": 1, "loss": "x"}',
    '{"run": "a", "kind": "test", "iter": 1, "net": [], "outputs": {}}',
    '{"run": "a", "kind": "test", "iter": 1, "net": 0, "outputs": {"a": {}}}',
    '{"run": "a", "kind": "test", "iter": 1, "net": 0, "outputs": []}',
    '{"run": "a", "kind": "train", "iter": ' + "1" * 5000 + "}",
    '{"a": ' * 100_000,
    '{"run": "\\ud800", "kind": "train", "iter": 1}',
    "\xff\xfe",
    "\0",
)


def test_lines_that_no_run_writes_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    good = [
        '{"run": "a", "kind": "train", "iter": 3}',
        '{"run": "a", "kind": "test", "iter": 4}',
        '{"run": "a", "kind": "train", "iter": 5, "loss": 1, "lr": 0.5}',
    ]
    path.write_text("\n".join([*ODD, *good]), "latin-1")
    assert read(path) == [json.loads(line) for line in good]
    (loss,), _ = panels_of(read(path))
    assert [curve.points for curve in loss.curves if curve.points] == [((5.0, 1.0),)]


def test_room_for_a_snapshot(tmp_path: Path) -> None:
    preflight.check_folder(tmp_path / "new" / "folder" / "run", 1000)
    assert (tmp_path / "new" / "folder").is_dir()
    with pytest.raises(NetcError, match="free") as caught:
        preflight.check_folder(tmp_path / "run", 1 << 60)
    assert (caught.value.code, caught.value.exit_status) == ("X610", 74)
