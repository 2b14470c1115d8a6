"""caffe's solvers: a run's steps, tests, snapshots and callbacks as a program sees them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc.pycaffe as caffe
from netc.errors import NetcError
from tests.runtime.pycaffe.nets import SIMPLE, written

SOLVER = """test_iter: 10 test_interval: 10 base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: 'inv'
gamma: 0.0001 power: 0.75 display: 100 max_iter: 100 snapshot_after_train: false snapshot_prefix: "model" """
KINDS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def with_labels(solver: Any) -> Any:
    for net in (solver.net, *solver.test_nets):
        net.blobs["label"].data[...] = np.random.default_rng(0).integers(13, size=net.blobs["label"].shape)
    return solver


@pytest.fixture
def solver(tmp_path: Path) -> Any:
    net = written(tmp_path, SIMPLE)
    file = written(tmp_path, f"net: '{net}' {SOLVER}", "solver.prototxt")
    made = caffe.SGDSolver(file)
    os.remove(file)
    os.remove(net)
    return with_labels(made)


def solver_of(tmp_path: Path, settings: str) -> Any:
    net = written(tmp_path, SIMPLE)
    return with_labels(caffe.get_solver(written(tmp_path, f"net: '{net}' {settings}", "solver.prototxt")))


def test_solve(solver: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert (solver.iter, solver.max_iter) == (0, 100)
    solver.solve()
    assert solver.iter == 100
    log = capfd.readouterr().err
    assert "Iteration 90, Testing net (#0)" in log
    assert "Iteration 100, loss = " in log


def test_apply_update_subtracts_the_rate_times_the_diff(solver: Any) -> None:
    weight = solver.net.layers[1].blobs[0]
    data = weight.data
    data[...] = 0
    weight.diff[...] = 1
    solver.apply_update()
    assert abs(data + 0.01).max() < 1e-7
    assert solver.iter == 1
    assert abs(weight.diff - 0.01).max() < 1e-7


def test_nets_outlive_their_solver(solver: Any) -> None:
    nets = [solver.net, *solver.test_nets]
    assert len(nets) == 2
    del solver
    for net in nets:
        blobs = [blob for blobs in net.params.values() for blob in blobs] + list(net.blobs.values())
        assert np.isfinite(sum(blob.data.sum() + blob.diff.sum() for blob in blobs))


def test_snapshots(solver: Any) -> None:
    solver.snapshot()
    assert Path("model_iter_0.caffemodel").is_file()
    assert Path("model_iter_0.solverstate").is_file()


def test_a_run_goes_on_from_its_snapshot(tmp_path: Path) -> None:
    """To the same numbers as one that was not stopped."""
    settings = "random_seed: 3 base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed' max_iter: 9 snapshot_prefix: 'm'"
    first = solver_of(tmp_path, settings)
    first.step(3)
    first.snapshot()
    first.step(2)
    second = solver_of(tmp_path, settings)
    second.restore("m_iter_3.solverstate")
    assert second.iter == 3
    second.step(2)
    for name, blobs in first.net.params.items():
        for mine, theirs in zip(blobs, second.net.params[name], strict=True):
            assert (mine.data == theirs.data).all(), name
    second.solve("m_iter_3.solverstate")
    assert second.iter == 9


def test_snapshots_that_fall_due(tmp_path: Path) -> None:
    solver = solver_of(tmp_path, "base_lr: 0.01 lr_policy: 'fixed' max_iter: 5 snapshot: 2 snapshot_prefix: 'm'")
    solver.solve()
    assert sorted(path.name for path in Path().glob("*.caffemodel")) == [f"m_iter_{n}.caffemodel" for n in (2, 4, 5)]


def test_calls_at_the_start_and_before_the_update(solver: Any) -> None:
    seen: list[Any] = []
    weight = solver.net.params["ip"][1]
    solver.add_callback(
        lambda: seen.append(("start", solver.iter, weight.diff.any())),
        lambda: (seen.append(("ready", solver.iter, weight.diff.any())), weight.diff.fill(0)),
    )
    before = weight.data.copy()
    solver.step(2)
    kinds = [("start", 0, False), ("ready", 0, True), ("start", 1, False), ("ready", 1, True)]
    assert seen == kinds
    np.testing.assert_allclose(weight.data, before, rtol=2e-5)  # weight decay alone


@pytest.mark.parametrize("kind", KINDS)
def test_the_class_says_which_rule(tmp_path: Path, kind: str) -> None:
    momentum = "" if kind in ("AdaGrad", "RMSProp") else "momentum: 0.9"
    settings = f"{momentum} base_lr: 0.01 lr_policy: 'fixed' max_iter: 5 delta: 1e-6"
    solver = solver_of(tmp_path, f"{settings} type: '{kind}'")
    cls = getattr(caffe, f"{kind}Solver")
    assert type(solver) is cls
    assert solver.type == kind
    named = cls(written(tmp_path, f"net: 'net.prototxt' {settings} type: 'SGD'", "sgd.prototxt"))
    assert named.type == kind


def test_a_rule_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    written(tmp_path, SIMPLE)
    file = written(tmp_path, "net: 'net.prototxt' base_lr: 0.1 lr_policy: 'fixed' momentum: 0.9", "s.prototxt")
    with pytest.raises(NetcError):
        caffe.AdaGradSolver(file)
    with pytest.raises(RuntimeError, match="Could not open file"):
        caffe.SGDSolver("none.prototxt")


def test_rates(tmp_path: Path) -> None:
    solver = solver_of(tmp_path, "base_lr: 0.5 lr_policy: 'step' gamma: 0.1 stepsize: 1 max_iter: 5")
    assert (solver.lr, solver.base_lr, solver.param.base_lr) == (0.5, 0.5, 0.5)
    solver.step(1)
    assert solver.lr == pytest.approx(0.05)
    solver.base_lr = 0.2
    assert solver.lr == pytest.approx(0.02)
    assert solver.param.max_iter == 5


def test_test_nets_use_the_parameters_of_the_net(solver: Any) -> None:
    solver.net.params["ip"][1].data[...] = 4
    assert (solver.test_nets[0].params["ip"][1].data == 4).all()
    assert set(solver.test_nets[0].forward()) == {"loss"}


def test_weights_are_shared_with_a_net(solver: Any, tmp_path: Path) -> None:
    net = caffe.Net(written(tmp_path, SIMPLE), caffe.TEST)
    solver.share_weights(net)
    solver.step(1)
    assert (net.params["conv"][0].data == solver.net.params["conv"][0].data).all()


def test_iter_size_adds_up_batches(tmp_path: Path) -> None:
    """The mean of the diffs of two passes, each on data of its own."""
    settings = "random_seed: 3 base_lr: 1 lr_policy: 'fixed' max_iter: 5 iter_size: 2"
    solver, plain = solver_of(tmp_path, settings), solver_of(tmp_path, settings)
    before = solver.net.params["ip"][1].data.copy()
    solver.step(1)
    plain.net.forward(), plain.net.backward(), plain.net.forward(), plain.net.backward()
    wanted = before - plain.net.params["ip"][1].diff / 2
    np.testing.assert_allclose(solver.net.params["ip"][1].data, wanted, rtol=1e-6, atol=1e-7)


def test_glogs_setting_silences_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLOG_minloglevel", "2")
    solver_of(tmp_path, "base_lr: 0.1 lr_policy: 'fixed' display: 1 max_iter: 2").solve()
    assert capfd.readouterr().err == ""
