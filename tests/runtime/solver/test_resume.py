"""Stopped and resumed is the same as never stopped, to the last bit: weights, history, log and records."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path

import pytest
import torch

from netc.errors import NetcError
from netc.graph.read import locate_solver
from netc.runtime.solver.log import Log
from netc.runtime.solver.report import Report
from netc.runtime.solver.solver import Solver, load_solver
from netc.runtime.solver.training import train


def sha(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def messages(stream: io.StringIO) -> list[str]:
    lines = (line.partition("] ")[2] for line in stream.getvalue().splitlines())
    return [re.sub(r"\(.* iters\)", "", line) for line in lines]


def run(snapshot: str | None = None, **changes: object) -> tuple[Solver, list[str]]:
    param, origin = locate_solver("solver.prototxt")
    for name, value in changes.items():
        setattr(param, name, value)
    stream = io.StringIO()
    solver = Solver(param, origin, snapshot=snapshot, report=Report(param, Log(stream)))
    train(solver)
    solver.close()
    return solver, messages(stream)


def records() -> list[dict[str, object]]:
    """metrics.jsonl without what depends on the clock."""
    clock = {"seconds", "images_per_second", "data_wait_share"}
    lines = map(json.loads, Path("metrics.jsonl").read_text().splitlines())
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


def test_a_fresh_start_names_the_snapshots_of_an_earlier_run(tiny: Path) -> None:
    _, first = run()
    _, second = run(max_iter=4)
    said = "tiny_iter_4, tiny_iter_8, tiny_iter_12; --resume auto"
    assert not any(said in line for line in first)
    assert any(said in line for line in second)
    _, resumed = run("tiny_iter_8.solverstate")
    assert not any("an earlier one" in line for line in resumed)


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
