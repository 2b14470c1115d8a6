"""Whole runs of `caffe train` repeated: the same data, from the same weights, line by line of its log."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc import weights
from netc.errors import NetcError
from netc.graph.read import locate_solver
from netc.runtime.solver.log import Log
from netc.runtime.solver.report import Report
from netc.runtime.solver.solver import Solver
from netc.runtime.solver.training import train

PRINTED = 2e-5
"""Caffe prints six digits; the rest is float32 rounding over twenty iterations."""

NUMBER = re.compile(r"(?<![\w#.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def said(log: str) -> list[str]:
    """The messages from "Solving" on, without time stamps, speeds and what only one of the two programs says."""
    lines = [line.partition("] ")[2] for line in log.splitlines() if re.match(r"[IW]\d+ ", line)]
    lines = [re.sub(r" \([^()]* iter/s, [^()]* iters\)", "", line) for line in lines]
    start = next(i for i, line in enumerate(lines) if line.startswith("Solving"))
    return [line for line in lines[start:] if not re.search(r"Restarting data prefetch|Waiting for data", line)]


def same_lines(found: list[str], expected: list[str]) -> None:
    """The words are equal, and every number in them within PRINTED."""
    assert [NUMBER.sub("#", line) for line in found] == [NUMBER.sub("#", line) for line in expected]
    for ours, theirs in zip(found, expected):
        a, b = ([float(x) for x in NUMBER.findall(line)] for line in (ours, theirs))
        assert a == pytest.approx(b, rel=PRINTED, abs=PRINTED), (ours, theirs)


def run_of(solver: str, **options: Any) -> tuple[Solver, io.StringIO]:
    stream = io.StringIO()
    param, origin = locate_solver(solver)
    return Solver(param, origin, report=Report(param, Log(stream)), **options), stream


def trained(solver: str, **options: Any) -> str:
    run, stream = run_of(solver, **options)
    assert train(run) is None
    run.close()
    return stream.getvalue()


def close_weights(found: Any, expected: Any) -> None:
    ours, theirs = weights.read(found), weights.read(expected)
    for layer, blobs in theirs.items():
        for mine, blob in zip(ours[layer], blobs, strict=True):
            np.testing.assert_allclose(mine, blob, rtol=1e-5, atol=2e-6)


@pytest.fixture
def cli(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the HDF5 runs of goldens/solvers/cli."""
    pytest.importorskip("h5py")
    folder = shared / "goldens/solvers/cli"
    for name in ("net.prototxt", "init.caffemodel", "train_h5.txt", "test_h5.txt", "train.h5", "test.h5"):
        shutil.copy(folder / name, tmp_path)
    for path in folder.glob("*.solver.prototxt"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("shards", [0, 1])
@pytest.mark.parametrize(
    "case, prefix, ending",
    [("bin", "bin", ""), ("adam", "adam", ""), ("multistep_testloss", "ms", ""), ("h5", "h5", ".h5")],
)
def test_log_and_snapshots_are_caffes(cli: Path, case: str, prefix: str, ending: str, shards: int) -> None:
    log = trained(f"{case}.solver.prototxt", weights="init.caffemodel", shards=shards)
    same_lines(said(log), said((cli / f"{case}.train.log").read_text()))
    for n in (10, 20):
        name = f"{prefix}_iter_{n}.caffemodel{ending}"
        close_weights(name, cli / name)
        name = name.replace("caffemodel", "solverstate")
        ours, theirs = weights.read_solverstate(name), weights.read_solverstate(cli / name)
        assert (ours.iteration, ours.current_step) == (theirs.iteration, theirs.current_step)
        for a, b in zip(ours.history, theirs.history, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def test_snapshot_diff_holds_the_update(cli: Path) -> None:
    trained("bin_diff.solver.prototxt", weights="init.caffemodel")
    from netc import proto

    found, expected = (
        proto.NetParameter.FromString(path.read_bytes())
        for path in (Path("bin_diff_iter_20.caffemodel"), cli / "bin_diff_iter_20.caffemodel")
    )
    pairs = list(zip(found.layer, expected.layer, strict=True))
    assert sum(len(layer.blobs) for layer, _ in pairs) == 4
    for layer, theirs in pairs:
        for a, b in zip(layer.blobs, theirs.blobs, strict=True):
            np.testing.assert_allclose(a.diff, b.diff, rtol=1e-3, atol=1e-6)


def test_resumes_from_caffes_own_snapshot(cli: Path) -> None:
    """Caffe's data start over when it resumes, ours go on: so the losses differ, the rates and the schedule do not."""
    for ending in ("caffemodel", "solverstate"):
        shutil.copy(cli / f"bin_iter_10.{ending}", ".")
    run, _ = run_of("bin_resume.solver.prototxt", snapshot="bin_iter_10.solverstate")
    assert run.iter == 10
    assert run.lr == pytest.approx(0.05)
    expected = weights.read("bin_iter_10.caffemodel")
    for layer, tensors in run.net.params.items():
        for tensor, array in zip(tensors, expected[layer], strict=True):
            assert np.array_equal(tensor.detach().numpy(), array)
    run.step(10)
    close_weights(run_weights(run), cli / "bin_iter_20.caffemodel")


def run_weights(run: Solver) -> str:
    return str(run.snapshot().with_suffix(".caffemodel"))


@pytest.mark.parametrize("shards", [0, 1])
def test_lenet_follows_caffe(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    """LeNet from an LMDB with a mean image, from Caffe's own initial weights: its printed losses and final weights."""
    folder = shared / "goldens/data/lenet"
    for name in ("lenet_solver.prototxt", "lenet_train_test.prototxt", "mean.binaryproto", "init.caffemodel"):
        shutil.copy(folder / name, tmp_path)
    for name in ("train_lmdb", "test_lmdb"):
        shutil.copytree(folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    log = trained("lenet_solver.prototxt", weights="init.caffemodel", shards=shards)
    same_lines(said(log), said((folder / "train.log").read_text()))
    close_weights("lenet_iter_20.caffemodel", folder / "lenet_iter_20.caffemodel")


def test_state_of_another_net_is_refused(cli: Path) -> None:
    run, _ = run_of("bin.solver.prototxt", weights="init.caffemodel")
    before = {layer: [t.detach().clone() for t in tensors] for layer, tensors in run.net.params.items()}
    cases = {
        "adam_iter_10.solverstate": ("R641", "8 history blobs"),
        "bin_iter_10.caffemodel": ("R640", "these are weights"),
    }
    for name, (code, text) in cases.items():
        with pytest.raises(NetcError) as caught:
            run.restore(cli / name)
        assert (caught.value.code, text in str(caught.value)) == (code, True)
    assert run.iter == 0
    assert all((a == b).all() for layer in before for a, b in zip(before[layer], run.net.params[layer]))
