"""Sources without a file behind them are fed by the caller, and missed before training starts."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from netc import load_net, read_solver
from netc.errors import NetcError
from netc.runtime.solver.log import Log
from netc.runtime.solver.report import Report
from netc.runtime.solver.solver import load_solver
from netc.runtime.solver.training import train

SOLVER = """
net_param {
  layer { name: "memory" type: "MemoryData" top: "x" top: "label"
    memory_data_param { batch_size: 3 channels: 5 height: 1 width: 2 } }
  layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 4
    weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
}
base_lr: 0.1 lr_policy: "fixed" max_iter: 2
"""


def feed(k: int) -> dict[str, torch.Tensor]:
    x = np.random.default_rng(k).standard_normal((3, 5, 1, 2), np.float32)
    return {"x": torch.from_numpy(x), "label": torch.tensor([0.0, 3.0, 1.0])}


def test_memory_data_is_trained_from_a_feed() -> None:
    run = load_solver(SOLVER)
    before = run.net.params["fc"][0].detach().clone()
    assert run.step(2, feed) > 0
    assert not torch.equal(before, run.net.params["fc"][0])
    with pytest.raises(NetcError) as caught:
        run.step(1)
    assert caught.value.code == "R601"


def test_memory_data_is_missed_before_training() -> None:
    stream = io.StringIO()
    run = load_solver(SOLVER, report=Report(read_solver(SOLVER), Log(stream)))
    with pytest.raises(NetcError, match='MemoryData layer "memory"') as caught:
        train(run)
    assert caught.value.code == "R624"
    assert "Solving" not in stream.getvalue()


def test_a_test_net_that_nothing_feeds_is_shown() -> None:
    run = load_solver(SOLVER + "test_iter: 1 test_interval: 1")
    with pytest.raises(NetcError) as caught:
        run.step(1, feed)
    assert caught.value.code == "R623"
    assert "memory" in str(caught.value.place)


def test_data_layers_of_one_name_have_feeds_of_their_own() -> None:
    """Caffe accepts two layers of one name; the second is not fed what the first is."""
    text = """
    layer { name: "d" type: "DummyData" top: "a" dummy_data_param { shape { dim: 2 } data_filler { value: 1 } } }
    layer { name: "d" type: "DummyData" top: "b" dummy_data_param { shape { dim: 3 } data_filler { value: 5 } } }
    """
    tops = load_net(text)()
    assert tops["a"].tolist() == [1, 1]
    assert tops["b"].tolist() == [5, 5, 5]
