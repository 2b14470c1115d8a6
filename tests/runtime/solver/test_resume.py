"""Stopped and resumed is the same as never stopped, to the last bit: weights, history, log and records."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from netc.errors import NetcError
from netc.graph.read import locate_solver
from netc.runtime.solver import metrics, snapshot
from netc.runtime.solver.log import Log
from netc.runtime.solver.metrics import read
from netc.runtime.solver.report import Report
from netc.runtime.solver.solver import Solver, load_solver
from netc.runtime.solver.training import train


def sha(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def messages(stream: io.StringIO) -> list[str]:
    lines = (line.partition("] ")[2] for line in stream.getvalue().splitlines())
    return [re.sub(r"\(.* iters\)", "", line) for line in lines]


def run(snapshot: str | None = None, force: bool = False, **changes: object) -> tuple[Solver, list[str]]:
    param, origin = locate_solver("solver.prototxt")
    for name, value in changes.items():
        setattr(param, name, value)
    stream = io.StringIO()
    solver = Solver(param, origin, snapshot=snapshot, report=Report(param, Log(stream)))
    try:
        train(solver, force)
    finally:
        solver.close()
    return solver, messages(stream)


def records() -> list[dict[str, object]]:
    """What is recorded of training and tests, without what depends on the clock."""
    clock = {"seconds", "images_per_second", "data_wait_share"}
    lines = [line for line in read(Path("tiny.metrics.jsonl")) if line["kind"] in ("train", "test")]
    return [{key: value for key, value in line.items() if key not in clock} for line in lines]


@pytest.mark.parametrize("rule", [{"type": "SGD"}, {"type": "Nesterov"}, {"type": "Adam", "base_lr": 0.002}])
def test_bit_exact(tiny: Path, rule: dict[str, object]) -> None:
    _, whole = run(**rule)
    expected = {name: sha(name) for name in ("tiny_iter_12.caffemodel", "tiny_iter_12.solverstate")}
    recorded = records()
    for name in expected:
        Path(name).unlink()
    for stop in (4, 8):
        _, resumed = run(f"tiny_iter_{stop}.solverstate", **rule)
        assert {name: sha(name) for name in expected} == expected
        assert records() == recorded
        first = resumed.index(f"Iteration {stop}, Testing net (#0)")
        assert resumed[first:] == whole[whole.index(f"Iteration {stop}, Testing net (#0)") :]


def test_rate_dropped_on_the_way(tiny: Path) -> None:
    """The plateau policy has something to remember in these runs, or the test above would show nothing of it."""
    solver, log = run()
    assert solver.plateau is not None
    assert 0 < solver.plateau.drops < 9
    assert sum(line.startswith("Plateau Status") for line in log) == solver.plateau.drops


def test_snapshots_anywhere_change_nothing(tiny: Path) -> None:
    run()
    expected = sha("tiny_iter_12.caffemodel")
    solver = load_solver("solver.prototxt")
    solver.step(7)
    path = solver.snapshot()
    solver.close()
    run(str(path))
    assert sha("tiny_iter_12.caffemodel") == expected


def test_other_conditions_are_said(tiny: Path) -> None:
    run(max_iter=4)
    _, log = run("tiny_iter_4.solverstate", random_seed=4)
    assert "seed is 4, in the run that wrote the snapshot it was 3: continuing, not bit-exact" in log


def test_state_of_another_rule_is_refused(tiny: Path) -> None:
    run(max_iter=4)
    for kind in ("AdaGrad", "RMSProp"):  # one array, too, but of squares
        with pytest.raises(NetcError, match=f"type SGD, and this one is {kind}") as caught:
            run("tiny_iter_4.solverstate", type=kind, momentum=0)
        assert caught.value.code == "R642"


@pytest.mark.parametrize("before, after", [("SGD", "Nesterov"), ("Nesterov", "SGD")])
def test_sgd_and_nesterov_go_on_from_one_another(tiny: Path, before: str, after: str) -> None:
    """Caffe resumes, for both keep one velocity: the next update is the other rule's, from that velocity."""
    run(max_iter=4, type=before)
    text = Path("solver.prototxt").read_text() + f'type: "{after}"\n'
    solver = load_solver(text, snapshot="tiny_iter_4.solverstate")
    assert solver.iter == 4
    w, h = ([x.detach().double() for x in part] for part in zip(*[(s.value, s.history[0]) for s in solver.slots]))
    assert any(velocity.abs().max() > 0 for velocity in h)
    solver.forward_backward()
    expected = []
    for slot, weight, velocity in zip(solver.slots, w, h, strict=True):
        rate, decay = solver.lr * slot.lr_mult, solver.param.weight_decay * slot.decay_mult
        g = slot.value.grad.double() / solver.param.iter_size + decay * weight
        new = 0.9 * velocity + rate * g
        expected.append(weight - (new if after == "SGD" else 1.9 * new - 0.9 * velocity))
    solver.apply_update()
    for slot, value in zip(solver.slots, expected, strict=True):
        torch.testing.assert_close(slot.value.detach().double(), value, rtol=1e-5, atol=1e-6)
    solver.close()


def test_state_of_another_net_is_refused(tiny: Path) -> None:
    run(max_iter=4)
    text = Path("net.prototxt").read_text()
    Path("net.prototxt").write_text(text.replace("num_output: 6", "num_output: 7"))
    with pytest.raises(NetcError, match="6x3x3x3|6×3×3×3") as caught:
        run("tiny_iter_4.solverstate")
    assert caught.value.code == "R641"


def test_a_fresh_start_does_not_replace_the_snapshots_of_an_earlier_run(tiny: Path) -> None:
    run()
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    with pytest.raises(NetcError, match="an earlier one: tiny_iter_4, tiny_iter_8, tiny_iter_12") as caught:
        run(max_iter=4)
    assert (caught.value.code, caught.value.exit_status) == ("O612", 73)
    assert "snapshot_prefix" in caught.value.place.text
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    _, forced = run(max_iter=4, force=True)
    assert any("tiny_iter_4, tiny_iter_8, tiny_iter_12 are not of this run" in line for line in forced)
    _, resumed = run("tiny_iter_8.solverstate")
    assert any("tiny_iter_12 are not of this run" in line for line in resumed)
    _, last = run("tiny_iter_12.solverstate", max_iter=13)
    assert not any("not of this run" in line for line in last)


@pytest.mark.parametrize("name", ["tiny_iter_4.caffemodel", "tiny_iter_12.solverstate", "tiny_iter_8.manifest.json"])
@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("mine"), lambda path: path.symlink_to("solver.prototxt")]
)
def test_files_that_netc_did_not_write_are_told_before_training(tiny: Path, name: str, make) -> None:
    make(Path(name))
    before = Path("solver.prototxt").read_text(), Path(name).read_text()
    with pytest.raises(NetcError) as caught:
        run()
    assert (caught.value.code, caught.value.exit_status) == ("O702", 73)
    assert name in caught.value.message
    assert (Path("solver.prototxt").read_text(), Path(name).read_text()) == before
    assert not list(Path().glob("tiny_iter_*.caffemodel")) or "caffemodel" in name
    Path(name).rename("mine")
    Path("tiny_iter_5.caffemodel").write_text("not in the way")
    run(max_iter=4)


def test_a_file_that_comes_while_training_is_not_replaced(tiny: Path) -> None:
    solver = load_solver("solver.prototxt")
    Path("tiny_iter_4.solverstate").write_text("mine")
    with pytest.raises(NetcError) as caught:
        solver.step(4)
    assert caught.value.code == "O702"
    assert solver.iter == 4
    assert Path("tiny_iter_4.solverstate").read_text() == "mine"
    assert not Path("tiny_iter_4.caffemodel").exists()
    solver.step(4)
    solver.close()
    assert snapshot.latest("tiny").iteration == 8


def test_a_snapshot_that_fails_is_tried_again(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full while iteration 8 is saved; training ends well, since the last snapshot is there."""
    full = {8}

    def require_room(folder: Path, need: int, room=snapshot.require_room) -> None:
        if solvers[-1].iter in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        room(folder, need)

    solvers: list[Solver] = []
    start = Solver.__init__
    monkeypatch.setattr(Solver, "__init__", lambda self, *a, **k: (solvers.append(self), start(self, *a, **k))[1])
    monkeypatch.setattr(snapshot, "require_room", require_room)
    _, log = run()
    assert sum("no snapshot of iteration 8, training goes on: " in line for line in log) == 1
    assert [path.name for path in sorted(Path().glob("*.manifest.json"))] == [
        "tiny_iter_12.manifest.json",
        "tiny_iter_4.manifest.json",
    ]
    full.add(12)
    with pytest.raises(NetcError) as caught:
        run("tiny_iter_4.solverstate")
    assert caught.value.code == "X701"
    assert read(Path("tiny.metrics.jsonl"))[-1]["kind"] == "end"
    full.clear()
    monkeypatch.undo()


def test_records_that_cannot_be_written_do_not_end_training(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 and more lines some fail, one of them half written; each that succeeds is whole."""
    calls = itertools.count()

    def write_all(handle: int, piece: bytes) -> None:
        number = next(calls)
        if 5 <= number < 9:
            os.write(handle, piece[: 7 if number == 6 else 0])
            raise OSError(errno.ENOSPC, "No space left on device")
        os.write(handle, piece)

    monkeypatch.setattr(metrics, "write_all", write_all)
    solver, log = run()
    assert solver.iter == 12
    assert [line.split("tiny.metrics.jsonl ")[1] for line in log if "tiny.metrics.jsonl" in line] == [
        "cannot be written, training goes on: No space left on device",
        "is written again, 4 records are missing",
    ]
    found = read(Path("tiny.metrics.jsonl"))
    assert len(found) == next(calls) - 1 - 4


def test_a_manifest_copied_to_another_iteration_is_no_snapshot_of_it(tiny: Path) -> None:
    run(max_iter=8)
    shutil.copy("tiny_iter_4.manifest.json", "tiny_iter_900.manifest.json")
    shutil.copy("tiny_iter_4.solverstate", "tiny_iter_900.solverstate")
    told: list[NetcError] = []
    found = snapshot.latest("tiny", told.append)
    assert (found.iteration, [error.code for error in told]) == (8, ["W733"])
    with pytest.raises(NetcError, match="the manifest of tiny_iter_4.solverstate"):
        snapshot.load("tiny_iter_900.solverstate")
    Path("tiny_iter_900.manifest.json").unlink()
    _, log = run("tiny_iter_900.solverstate", max_iter=5)
    assert any("holds iteration 4, and not 900 as its name says" in line for line in log)


@pytest.mark.parametrize(
    "name, old, new, edited",
    [
        ("solver.prototxt", "base_lr: 0.02", "base_lr: 0.03", "solver"),
        ("net.prototxt", "dropout_ratio: 0.4", "dropout_ratio: 0.5", "net"),
        ("solver.prototxt", "snapshot: 4", "# the same\nsnapshot: 3", None),
    ],
)
def test_a_resume_after_an_edit_says_so(tiny: Path, name: str, old: str, new: str, edited: str | None) -> None:
    run(max_iter=4)
    text = Path(name).read_text()
    assert old in text
    Path(name).write_text(text.replace(old, new))
    _, log = run("tiny_iter_4.solverstate", max_iter=5)
    said = [line.split()[1] for line in log if "edited since" in line]
    assert said == ([edited] if edited else [])


def test_the_snapshot_that_divergence_names_is_this_runs(tiny: Path) -> None:
    run(max_iter=4)
    solver = load_solver("solver.prototxt")
    assert solver.last_snapshot is None
    path = solver.snapshot()
    assert solver.last_snapshot == path
    solver.close()
    solver = load_solver("solver.prototxt", snapshot="tiny_iter_4.solverstate")
    assert solver.last_snapshot == Path("tiny_iter_4.solverstate")
    solver.close()


@pytest.mark.parametrize(
    "extras",
    [
        {"losses": ["1"]},
        {"losses": {"a": 1}},
        {"losses": 5},
        {"solver_type": 5},
        {"plateau": []},
        {"plateau": {"drops": "x"}},
        {"plateau": {"drops": 1.5}},
        {"plateau": {"best": [1]}},
        {"plateau": {"finished": None}},
        {"conditions": [1]},
        {"conditions": {"seed": {}}},
    ],
)
def test_a_signed_manifest_of_odd_extras(tiny: Path, extras: dict[str, object]) -> None:
    from netc.runtime.solver.manifest import _render

    run(max_iter=4)
    path = Path("tiny_iter_4.manifest.json")
    body = json.loads(path.read_text())
    del body["sha256"]
    path.write_text(_render(body | {"extras": body["extras"] | extras}))
    with pytest.raises(NetcError) as caught:
        run("tiny_iter_4.solverstate", max_iter=5)
    assert caught.value.code == "W730"
