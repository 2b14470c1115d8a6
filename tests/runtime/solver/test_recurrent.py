"""Recurrent nets are resumed bit for bit: what a layer carries on is part of the snapshot."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import netc
from netc.errors import NetcError
from netc.runtime.solver import snapshot
from netc.runtime.solver.solver import Solver


def text(kind: str, more: str = "") -> str:
    return f"""
      base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 random_seed: 3 iter_size: 2 test_iter: 3 test_interval: 3
      snapshot_prefix: "run" {more} net_param {{
      layer {{ name: "in" type: "DummyData" top: "x" top: "marks" top: "y" dummy_data_param {{
        shape {{ dim: 4 dim: 3 dim: 5 }} shape {{ dim: 4 dim: 3 }} shape {{ dim: 4 dim: 3 dim: 2 }}
        data_filler {{ type: "gaussian" std: 1 }} data_filler {{ type: "constant" value: 1 }}
        data_filler {{ type: "gaussian" std: 1 }} }} }}
      layer {{ name: "a/r" type: "{kind}" bottom: "x" bottom: "marks" top: "h"
        recurrent_param {{ num_output: 6 weight_filler {{ type: "uniform" min: -0.5 max: 0.5 }} }} }}
      layer {{ name: "fc" type: "InnerProduct" bottom: "h" top: "fc"
        inner_product_param {{ num_output: 2 axis: 2 weight_filler {{ type: "xavier" }} }} }}
      layer {{ name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "y" top: "loss" }} }}"""


def weights_of(run: Solver) -> list[torch.Tensor]:
    return [slot.value.detach().clone() for slot in run.slots]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shards", [0, 1])
@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
@pytest.mark.parametrize("format", ["BINARYPROTO", "HDF5"])
def test_resumed_bit_for_bit_with_its_tests(folder: Path, kind: str, shards: int, format: str) -> None:
    if format == "HDF5":
        pytest.importorskip("h5py")
    source = text(kind, f"snapshot_format: {format}")
    whole = netc.load_solver(source, shards=shards)
    whole.step(7)
    expected, tests = weights_of(whole), whole.test()
    first = netc.load_solver(source, shards=shards)
    first.step(4)
    path = first.snapshot()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        second = netc.load_solver(source, snapshot=str(path), shards=shards)
    second.step(3)
    assert all(map(torch.equal, weights_of(second), expected))
    assert second.test() == tests


def test_without_the_file_it_is_said(folder: Path) -> None:
    """Caffe's own snapshots hold no hidden state, and Caffe begins from 0, too."""
    run = netc.load_solver(text("LSTM"))
    run.step(2)
    path = run.snapshot()
    Path("run_iter_2.manifest.json").unlink()
    with pytest.warns(UserWarning, match="lacks the hidden state of a/r: it begins from 0, not bit-exact"):
        netc.load_solver(text("LSTM"), snapshot=str(path))


def test_a_damaged_file_is_a_damaged_snapshot(folder: Path) -> None:
    run = netc.load_solver(text("RNN"))
    run.step(2)
    run.snapshot()
    hidden = Path("run_iter_2.hidden.safetensors")
    data = bytearray(hidden.read_bytes())
    data[-1] ^= 1
    hidden.write_bytes(data)
    with pytest.raises(NetcError) as caught:
        snapshot.load("run_iter_2.solverstate")
    assert caught.value.code == "W732"
    hidden.unlink()
    with pytest.raises(NetcError) as caught:
        snapshot.load("run_iter_2.solverstate")
    assert caught.value.code == "W731"


def test_shards_are_refused(folder: Path) -> None:
    with pytest.raises(NetcError) as caught:
        netc.load_solver(text("RNN"), shards=2)
    assert caught.value.code == "R660"
