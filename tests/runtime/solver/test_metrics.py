"""Records and locks: several runs in one folder, resuming, lines that a crash cut off, and other people's files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from netc.errors import NetcError
from netc.runtime.report.curves import panels_of
from netc.runtime.solver import preflight
from netc.runtime.solver.metrics import Metrics, read
from netc.runtime.solver.preflight import PrefixLock


def test_a_run_supersedes_only_its_own_later_records(tmp_path: Path) -> None:
    """Lines are only ever added, and each run has a file of its own."""
    path = tmp_path / "a.metrics.jsonl"
    run = Metrics(tmp_path / "a", 0)
    for iteration in range(4):
        run.write({"kind": "train", "iter": iteration})
    run.close()
    with path.open("a") as file:
        file.write('{"run": "a", "it')
    before = path.read_bytes()
    Metrics(tmp_path / "a", 2).write({"kind": "train", "iter": 2, "loss": math.nan})
    Metrics(tmp_path / "b", 0)
    assert path.read_bytes().startswith(before)
    assert [(record["run"], record["iter"]) for record in read(path)] == [("a", 0), ("a", 1), ("a", 2)]
    assert read(path, "a")[-1]["loss"] is None
    assert read(path, "b") == []
    lines = path.read_text().splitlines()
    assert json.loads(lines[0]) == {"netc_metrics": 1, "run": "a", "kind": "start", "iter": 0}
    assert all(json.loads(line) for line in lines if line != '{"run": "a", "it')


def _link(path: Path) -> None:
    (path.parent / "diary").write_text("mine")
    path.symlink_to("diary")


def _hard_link(path: Path) -> None:
    (path.parent / "diary").write_text("mine")
    path.hardlink_to(path.parent / "diary")


FOREIGN = [
    _link,
    _hard_link,
    lambda path: path.symlink_to("nowhere"),
    lambda path: path.write_text('{"run": "a", "kind": "train", "iter": 1}\n'),
    lambda path: path.write_text('{"netc_metrics": 1, "run": "ab"}\n'),
    lambda path: path.write_bytes(b"\xff\0"),
    os.mkfifo,
    Path.mkdir,
]


@pytest.mark.parametrize("make", FOREIGN)
def test_what_is_not_netcs_is_left_alone(tmp_path: Path, make: Callable[[Path], object]) -> None:
    for name in ("a.metrics.jsonl", "a.netc.lock"):
        make(tmp_path / name)
        before = {path.name: (path.lstat(), path.is_file() and path.read_bytes()) for path in tmp_path.iterdir()}
        with pytest.raises(NetcError) as caught:
            Metrics(tmp_path / "a", 0) if "metrics" in name else PrefixLock(tmp_path / "a").__enter__()
        assert (caught.value.code, caught.value.exit_status, caught.value.path) == ("O613", 73, str(tmp_path / name))
        after = {path.name: (path.lstat(), path.is_file() and path.read_bytes()) for path in tmp_path.iterdir()}
        assert [(a[0].st_mtime_ns, a[0].st_ino, a[1]) for a in after.values()] == [
            (b[0].st_mtime_ns, b[0].st_ino, b[1]) for b in before.values()
        ]
        for path in tmp_path.iterdir():
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_other_programs_locks_and_records_stay(tmp_path: Path) -> None:
    """A project's uv.lock beside a run of the prefix "uv", and somebody's metrics.jsonl."""
    for name in ("uv.lock", "metrics.jsonl"):
        (tmp_path / name).write_text("mine")
    with PrefixLock(tmp_path / "uv"):
        Metrics(tmp_path / "uv", 0).close()
        text = (tmp_path / "uv.netc.lock").read_text()
        assert text == f"netc training lock of uv\nprocess {os.getpid()}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "uv.lock", "uv.metrics.jsonl"]
    assert {(tmp_path / name).read_text() for name in ("uv.lock", "metrics.jsonl")} == {"mine"}


def test_a_lock_that_a_killed_run_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "a.netc.lock").write_text("netc training lock of a\nprocess 99999999\n")
    with PrefixLock(tmp_path / "a"), pytest.raises(NetcError, match=f"process {os.getpid()}"):
        PrefixLock(tmp_path / "a").__enter__()
    assert not (tmp_path / "a.netc.lock").exists()


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


@pytest.mark.parametrize("begin", [lambda prefix: Metrics(prefix, 0), lambda prefix: PrefixLock(prefix).__enter__()])
def test_a_prefix_that_no_file_can_have(tmp_path: Path, begin: Callable[[Path], object]) -> None:
    with pytest.raises(NetcError) as caught:
        begin(tmp_path / "a\0b")
    assert caught.value.code == "O613"
    assert caught.value.hint == "set a snapshot_prefix without a NUL (\\0)"
