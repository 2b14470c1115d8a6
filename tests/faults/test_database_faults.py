"""A database that is cut off, zeroed or rewritten while `netc train` reads it: an error and a snapshot, no signal."""

from __future__ import annotations

import os
import time
from pathlib import Path

import lmdb
import pytest

import netc
from netc.errors import NetcError
from netc.runtime.solver import snapshot
from netc.runtime.solver.training import train
from tests.faults.test_train_killed import SOLVER, prepare, read_log, start


def cut_off(data: Path) -> None:
    os.truncate(data, 4 * 4096)


def zeroed(data: Path) -> None:
    size = data.stat().st_size
    with data.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(bytes(size - 2 * 4096))


def rewritten(data: Path) -> None:
    with lmdb.open(str(data.parent), map_size=1 << 24) as env, env.begin(write=True) as transaction:
        transaction.put(b"00000003", b"something else")


@pytest.mark.parametrize(("accident", "code"), [(cut_off, "D511"), (zeroed, "D514"), (rewritten, "D512")])
def test_what_was_learnt_is_saved(tmp_path, monkeypatch, accident, code):
    """After the snapshot of iteration 10, in iteration 16; the run can go on from where it was."""
    folder = prepare(tmp_path / "run")
    whole = (folder / "train_lmdb/data.mdb").read_bytes()
    monkeypatch.chdir(folder)
    run = netc.load_solver("solver.prototxt")
    update = run.apply_update

    def update_and_break() -> None:
        update()
        if run.iter == 16:
            accident(folder / "train_lmdb/data.mdb")

    monkeypatch.setattr(run, "apply_update", update_and_break)
    with pytest.raises(NetcError) as caught:
        train(run)
    run.close()
    assert caught.value.code == code
    assert run.iter >= 16
    saved = snapshot.load(folder / f"run_iter_{run.iter}.solverstate")
    assert saved.verified
    (folder / "train_lmdb/data.mdb").write_bytes(whole)
    again = netc.load_solver("solver.prototxt", snapshot=str(saved.path))
    again.step(3)
    again.close()


def test_no_snapshot_of_nothing(tmp_path, monkeypatch):
    """A run whose data are damaged from the start saves none."""
    folder = prepare(tmp_path / "run")
    monkeypatch.chdir(folder)
    run = netc.load_solver("solver.prototxt")
    zeroed(folder / "train_lmdb/data.mdb")
    with pytest.raises(NetcError, match="damaged"):
        train(run)
    run.close()
    assert not list(folder.glob("run_iter_*"))


def test_the_command_ends_with_a_snapshot(tmp_path):
    """In a process of its own, which a map of the file would end with SIGBUS."""
    folder = prepare(tmp_path / "run")
    endless = (
        SOLVER.replace("max_iter: 400", "max_iter: 4000000")
        .replace("snapshot: 10", "")
        .replace("display: 20", "display: 5")
    )
    (folder / "solver.prototxt").write_text(endless)
    process = start(folder)
    until = time.monotonic() + 120
    while "Iteration 20" not in read_log(folder) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    cut_off(folder / "train_lmdb/data.mdb")
    assert process.wait(60) == 65, read_log(folder)[-2000:]
    assert "error[D511]" in read_log(folder)
    (manifest,) = folder.glob("run_iter_*.manifest.json")
    assert int(manifest.name.split("_")[2].split(".")[0]) >= 20
