"""A TEST net records nothing for gradients and works in place where nothing sees it; a double net takes doubles."""

from __future__ import annotations

import pytest
import torch

import netc

NET = """
{head}
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 3 dim: 8 dim: 6 }} }} }}
layer {{ name: "c1" type: "Convolution" bottom: "data" top: "c1" convolution_param {{ num_output: 4 kernel_size: 3
  weight_filler {{ type: "gaussian" std: 1 }} }} }}
layer {{ name: "r1" type: "ReLU" bottom: "c1" top: "r1" }}
layer {{ name: "r2" type: "ReLU" bottom: "r1" top: "r2" relu_param {{ negative_slope: 0.5 }} }}
layer {{ name: "p1" type: "Pooling" bottom: "r1" top: "p1" pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "rp" type: "ReLU" bottom: "p1" top: "p1" relu_param {{ negative_slope: 0.1 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "p1" top: "fc" inner_product_param {{ num_output: 5
  weight_filler {{ type: "gaussian" std: 1 }} }} }}
layer {{ name: "rf" type: "ReLU" bottom: "fc" top: "fc" }}
layer {{ name: "ra" type: "ReLU" bottom: "data" top: "ra" }}
"""


def x() -> torch.Tensor:
    return torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(1))


def hand_written(net: netc.runtime.net.module.Net, data: torch.Tensor) -> dict[str, torch.Tensor]:
    F, p = torch.nn.functional, net.params
    c1 = F.conv2d(data, *p["c1"])
    p1 = F.leaky_relu(F.max_pool2d(c1.relu(), 2, 2, ceil_mode=True), 0.1)
    fc = F.linear(p1.flatten(1), *p["fc"]).relu()
    return {"c1": c1, "r1": c1.relu(), "p1": p1, "fc": fc, "r2": c1.relu(), "ra": data.relu()}


@pytest.mark.parametrize("blobs", [None, ["c1", "r1", "p1", "fc"], ["r2", "r1"], ["c1"]])
def test_values_are_those_of_hand_written_code(blobs: list[str] | None) -> None:
    net, data = netc.load_net(NET.format(head="")), x()
    found = net(data, blobs=blobs)
    wanted = hand_written(net, data)
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name])
    assert torch.equal(data, x())


def test_a_test_net_records_nothing_unless_asked() -> None:
    net = netc.load_net(NET.format(head=""))
    assert not net.training
    assert not any(value.requires_grad or value.is_inference() for value in net(x()).values())
    assert net(x().requires_grad_())["fc"].requires_grad
    assert net.train()(x())["fc"].requires_grad
    assert netc.load_net(NET.format(head="force_backward: true"))(x())["fc"].requires_grad
    training = netc.load_net(NET.format(head=""), "TRAIN")
    assert training.training
    assert training(x())["fc"].requires_grad


def test_the_first_relu_writes_over_what_nothing_else_reads() -> None:
    """c1 is read by r1 alone, so r1 needs no memory of its own, unless c1 is asked for; r1 is read twice."""
    net = netc.load_net(NET.format(head=""))
    steps = {step.node.name: over for step, _, over in net._route(("fc", "r2")).steps}
    assert {name for name, over in steps.items() if over} == {"r1", "rp", "rf"}
    steps = {step.node.name: over for step, _, over in net._route(("fc", "c1")).steps}
    assert not steps["r1"]


def test_a_double_net_takes_double_batches() -> None:
    net = netc.load_net(
        """layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 2 dim: 3 }
        data_filler { type: "gaussian" } } }
        layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 2 } }"""
    ).double()
    assert net()["ip"].dtype == torch.float64


def test_no_layer_waits_for_a_device() -> None:
    """A tensor without values stands for one on a GPU: whatever looks at a value there fails here."""
    folded = NORMALISED.format(shape="dim: 2 dim: 3 dim: 9 dim: 8")
    for text, shape in ((NET.format(head=""), (2, 3, 8, 6)), (folded, (2, 3, 9, 8))):
        net = netc.load_net(text).to("meta")
        found = net(torch.empty(shape, device="meta"))
        assert all(value.device.type == "meta" for value in found.values())


NORMALISED = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {shape} }} }} }}
layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {{ num_output: 4 kernel_size: 3 }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "c" top: "c" }}
layer {{ name: "sc" type: "Scale" bottom: "c" top: "c" scale_param {{ bias_term: true }} }}
layer {{ name: "norm" type: "LRN" bottom: "c" top: "norm" }}
layer {{ name: "mp" type: "Pooling" bottom: "norm" top: "mp" pooling_param {{ kernel_size: 3 stride: 2 }} }}
layer {{ name: "ap" type: "Pooling" bottom: "norm" top: "ap"
  pooling_param {{ pool: AVE kernel_size: 3 stride: 2 }} }}
layer {{ name: "cat" type: "Concat" bottom: "mp" bottom: "ap" top: "cat" }}
layer {{ name: "sum" type: "Eltwise" bottom: "mp" bottom: "ap" top: "sum" }}
layer {{ name: "drop" type: "Dropout" bottom: "cat" top: "cat" }}
layer {{ name: "fc" type: "InnerProduct" bottom: "cat" top: "fc" inner_product_param {{ num_output: 5 }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""
