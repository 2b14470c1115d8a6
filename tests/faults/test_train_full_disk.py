"""Training on a disk that fills up: it goes on, says so, and tries again; only the last snapshot decides."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from netc.errors import NetcError
from netc.graph.read import locate_solver
from netc.runtime.solver import snapshot
from netc.runtime.solver.log import Log
from netc.runtime.solver.metrics import read
from netc.runtime.solver.report import Report
from netc.runtime.solver.solver import Solver
from netc.runtime.solver.training import train
from tests.runtime.solver.conftest import write_run


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 400 KiB for what the run in the working directory writes (root only)."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", small]).returncode:
        pytest.skip("mounting needs root")
    text = Path("solver.prototxt").read_text()
    Path("solver.prototxt").write_text(text.replace('snapshot_prefix: "tiny"', 'snapshot_prefix: "small/tiny"'))
    yield small
    subprocess.run(["umount", "-l", small], check=True)


class Filler(Report):
    """Fills the disk to the last byte before iteration 3, and empties it before iteration `until`."""

    def __init__(self, param, log: Log, disk: Path, until: int) -> None:
        super().__init__(param, log)
        self.ballast, self.until = disk / "ballast", until

    def iterated(self, iteration: int, loss: float) -> None:
        if iteration == 3:
            with open(self.ballast, "wb", buffering=0) as file:
                for size in (4096, 1):
                    try:
                        while file.write(b"x" * size):
                            pass
                    except OSError:
                        pass
        elif iteration == self.until:
            self.ballast.unlink()


def run(disk: Path, until: int) -> tuple[Solver, str]:
    param, origin = locate_solver("solver.prototxt")
    stream = io.StringIO()
    solver = Solver(param, origin, report=Filler(param, Log(stream), disk, until))
    try:
        train(solver)
    finally:
        solver.close()
        (disk / "ballast").unlink(missing_ok=True)
    return solver, stream.getvalue()


def test_it_goes_on_and_saves_when_there_is_room_again(disk: Path) -> None:
    solver, log = run(disk, until=10)
    assert solver.iter == 12
    assert [n for n in (4, 8) if f"no snapshot of iteration {n}, training goes on" in log] == [4, 8]
    found = snapshot.latest(disk / "tiny")
    assert found is not None
    assert found.iteration == 12
    assert sorted(path.name for path in disk.iterdir()) == [
        *("tiny.metrics.jsonl", "tiny.runs.jsonl", "tiny_iter_12.caffemodel"),
        *("tiny_iter_12.manifest.json", "tiny_iter_12.solverstate"),
    ]
    kinds = {record["kind"] for record in read(disk / "tiny.metrics.jsonl")}
    assert kinds >= {"train", "test", "snapshot", "end"}


def test_the_last_snapshot_decides(disk: Path) -> None:
    with pytest.raises(NetcError) as caught:
        run(disk, until=99)
    assert (caught.value.code, caught.value.exit_status) == ("X701", 74)
    assert sorted(path.name for path in disk.iterdir()) == ["tiny.metrics.jsonl", "tiny.runs.jsonl"]
