"""A value that is not finite ends training: layer, records and likely causes are named, the state before it is kept."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from netc import proto
from netc.errors import NetcError
from netc.graph.read import locate_solver
from netc.runtime.solver.solver import Solver
from netc.runtime.solver.training import train

NET = """layer { name: "d" type: "Data" top: "x" top: "y" data_param { source: "db" batch_size: 6 backend: LMDB } }
  layer { name: "bn" type: "BatchNorm" bottom: "x" top: "b" }
  layer { name: "exp" type: "Exp" bottom: "x" top: "e" }
  layer { name: "fc" type: "InnerProduct" bottom: "e" top: "fc"
    inner_product_param { num_output: 2 weight_filler { type: "constant" value: 0.001 } } }
  layer { name: "quiet" type: "Silence" bottom: "b" }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" top: "loss" }"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """18 records, of which number 15 is too large for exp."""
    import lmdb

    monkeypatch.chdir(tmp_path)
    with lmdb.open("db", map_size=1 << 22) as database, database.begin(write=True) as transaction:
        for index in range(18):
            values = np.full((2, 1, 1), 500.0 if index == 15 else 0.5 + index / 40)
            datum = proto.Datum(channels=2, height=1, width=1, float_data=values.ravel().tolist(), label=index % 2)
            transaction.put(f"key{index:03d}".encode(), datum.SerializeToString())
    Path("solver.prototxt").write_text(
        f'base_lr: 0.01 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "run" net_param {{ {NET} }}'
    )
    return tmp_path


def solver(**options: object) -> Solver:
    return Solver(*locate_solver("solver.prototxt"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shards", [0, 1, 2])
def test_the_record_is_named_by_its_key_and_the_state_before_it_is_saved(folder: Path, shards: int) -> None:
    run = solver(shards=shards)
    with pytest.raises(NetcError) as caught:
        train(run)
    error = caught.value
    assert error.code == "R630"
    assert "at iteration 2" in error.message
    assert 'the first blob not to be finite is "e" of layer "exp" (Exp)' in error.message
    assert error.message.endswith('in the record "key015" of db')
    assert re.match(r"likely causes, the likeliest first: \(1\) a bad record: .*key015.* 500", str(error.hint))
    assert "the rate" in str(error.hint)
    assert "the last snapshot is run_iter_2.solverstate; go on" in str(error.hint)
    expected = solver(shards=shards)
    expected.step(2)
    kept = solver(shards=shards, snapshot="run_iter_2.solverstate")
    for layer, tensors in expected.net.params.items():
        assert all(map(torch.equal, kept.net.params[layer], tensors)), layer


def test_a_gradient_that_is_not_finite_is_not_learnt_from(folder: Path) -> None:
    """The loss is finite all the time, but sqrt has no gradient at 0."""
    net = Path("solver.prototxt")
    net.write_text(
        """base_lr: 0.01 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "run" net_param {
        layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 2 } }
        layer { name: "root" type: "Power" bottom: "fc" top: "root" power_param { power: 0.5 } }
        layer { name: "loss" type: "Reduction" bottom: "root" top: "loss" loss_weight: 1 } }"""
    )
    run = solver()
    before = [slot.value.clone() for slot in run.slots]
    with pytest.raises(NetcError, match='of layer "fc" .* is not finite at iteration 0, the loss is 0') as caught:
        run.step(1)
    assert caught.value.code == "R630"
    assert all(torch.equal(slot.value, value) for slot, value in zip(run.slots, before, strict=True))


def test_a_label_that_stands_out(folder: Path) -> None:
    net = Path("solver.prototxt")
    net.write_text(
        """base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "run" net_param {
        layer { name: "in" type: "Input" top: "x" top: "y"
          input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 1 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 1 } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "y" top: "loss" } }"""
    )
    y = torch.ones(4, 1)
    y[2] = 3e38
    with pytest.raises(NetcError) as caught:
        solver().step(1, lambda k: {"x": torch.ones(4, 3), "y": y})
    assert re.match(
        r'likely causes, the likeliest first: \(1\) a label: row 2 has 3e\+38 in "y"', str(caught.value.hint)
    )
