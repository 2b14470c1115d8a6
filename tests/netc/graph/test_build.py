"""Parameters that a layer shares with itself (Net::AppendParam compares names, whichever layer they are in)."""

from __future__ import annotations

import pytest
import torch

import netc

DATA = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 3 } } }\n'
TWICE = 'param { name: "w" } param { name: "w" }'


def test_a_layer_shares_with_itself() -> None:
    net = netc.load_net(
        DATA + f'layer {{ name: "s" type: "Scale" bottom: "d" top: "s" scale_param {{ bias_term: true }} {TWICE} }}'
    )
    weight, bias = net.params["s"]
    assert weight is bias
    x = torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 4.0]])
    net.train()(d=x)["s"].sum().backward()
    assert torch.equal(weight.grad, x.sum(0) + 2)


def test_shapes_that_differ_within_a_layer() -> None:
    ip = 'layer { name: "%s" type: "InnerProduct" bottom: "d" top: "%s" inner_product_param { num_output: %d } %s }\n'
    with pytest.raises(netc.NetcError) as caught:
        netc.compile_net(DATA + ip % ("f", "f", 4, TWICE) + ip % ("g", "g", 5, 'param { name: "w" }'))
    assert [(error.code, error.line) for error in caught.value.errors] == [("G408", 2), ("G408", 3)]
