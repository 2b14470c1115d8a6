"""MemoryData fed by arrays, from a program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc import NetcError

MEMORY = """layer { name: "m" type: "MemoryData" top: "x" top: "label"
  memory_data_param { batch_size: 2 channels: 3 height: 1 width: 2 } }"""
SOLVER = f"""net_param {{ {MEMORY}
  layer {{ name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param {{ num_output: 4
    weight_filler {{ type: "xavier" }} }} }}
  layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }} }}
  base_lr: 0.1 lr_policy: "fixed" max_iter: 4 test_interval: 2"""


def arrays(n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n * 6, dtype=np.float64).reshape(n, 3, 1, 2), np.arange(n).reshape(n, 1, 1, 1) % 4


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_each_pass_takes_the_next_batch_and_begins_again(phase: str) -> None:
    net = netc.load_net(MEMORY, phase)
    data, labels = arrays()
    net.set_input_arrays(data, labels)
    data[...] = 0  # a copy has been made
    passes = [net() for _ in range(4)]
    assert [out["label"].tolist() for out in passes] == [[0, 1], [2, 3], [0, 1], [0, 1]]
    np.testing.assert_array_equal(passes[1]["x"], arrays()[0][2:4])
    net.set_input_arrays(*arrays(2))
    assert net()["label"].tolist() == [0, 1]


def test_given_in_the_call_it_needs_no_arrays() -> None:
    out = netc.load_net(MEMORY)(x=torch.ones(2, 3, 1, 2), label=torch.tensor([3.0, 1.0]))
    assert out["label"].tolist() == [3, 1]


def test_training_and_testing_from_arrays() -> None:
    fed = netc.load_solver(SOLVER)
    fed.net.set_input_arrays(*arrays())
    for net in fed.test_nets:
        net.set_input_arrays(*arrays())
    by_hand = netc.load_solver(SOLVER)
    data, labels = (torch.tensor(a, dtype=torch.float32) for a in arrays())

    def feed(k: int) -> dict[str, Any]:
        rows = [(2 * k) % 6, (2 * k + 1) % 6]
        return {"x": data[rows], "label": labels.flatten()[rows]}

    by_hand.test_feed = feed
    losses = [[run.step(1, *given) for _ in range(4)] for run, given in ((fed, ()), (by_hand, (feed,)))]
    assert losses[0] == losses[1]
    assert torch.equal(fed.net.params["fc"][0], by_hand.net.params["fc"][0])


@pytest.mark.parametrize(
    ("data", "labels", "part"),
    [
        (np.zeros((4, 3, 2, 1)), np.zeros(4), "takes arrays of N×3×1×2, found 4×3×2×1"),
        (np.zeros((0, 3, 1, 2)), np.zeros(0), "takes arrays of N×3×1×2"),
        (np.zeros((4, 3, 1, 2)), np.zeros(3), "takes a label for each of the 4 images, found 3"),
        (np.zeros((5, 3, 1, 2)), np.zeros(5), "takes whole batches of 2, found 5 images"),
    ],
)
def test_arrays_that_do_not_fit(data: np.ndarray, labels: np.ndarray, part: str) -> None:
    with pytest.raises(NetcError) as caught:
        netc.load_net(MEMORY).set_input_arrays(data, labels)
    assert caught.value.code == "D555"
    assert part in caught.value.message


def test_which_layer_is_meant() -> None:
    with pytest.raises(NetcError, match="no MemoryData layers"):
        netc.load_net('layer { name: "i" type: "Input" top: "x" }').set_input_arrays(*arrays())
    two = MEMORY + MEMORY.replace('"m"', '"n"').replace('"x"', '"y"').replace('"label"', '"z"')
    net = netc.load_net(two)
    with pytest.raises(NetcError, match="2 MemoryData layers"):
        net.set_input_arrays(*arrays())
    net.set_input_arrays(*arrays(), layer="n")
    net.set_input_arrays(*arrays(2), layer="m")
    assert net()["z"].tolist() == [0, 1]
    assert net()["z"].tolist() == [2, 3]
