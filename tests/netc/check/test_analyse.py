"""Receptive fields against brute force: which input pixels change an output."""

from __future__ import annotations

import pytest

import netc
from netc.check.analyse import analyse

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 40 dim: 33 } } }'
CONV = """layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}"
  convolution_param {{ num_output: 1 bias_term: false weight_filler {{ type: "constant" value: 1 }} {2} }} }}"""
POOL = """layer {{ name: "{0}" type: "Pooling" bottom: "{1}" top: "{0}" pooling_param {{ pool: AVE {2} }} }}"""

CHAINS = {
    "stride": [CONV.format("a", "data", "kernel_size: 5 stride: 2"), CONV.format("y", "a", "kernel_size: 3")],
    "pad": [CONV.format("a", "data", "kernel_size: 3 pad: 1"), POOL.format("y", "a", "kernel_size: 2 stride: 2")],
    "dilation": [CONV.format("a", "data", "kernel_size: 3 dilation: 3"), CONV.format("y", "a", "kernel_size: 2")],
    "rectangle": [
        CONV.format("a", "data", "kernel_h: 5 kernel_w: 2 stride_h: 1 stride_w: 3"),
        POOL.format("y", "a", "kernel_size: 3 stride: 2"),
    ],
    "branches": [
        CONV.format("a", "data", "kernel_size: 5 pad: 2"),
        CONV.format("b", "data", "kernel_h: 1 kernel_w: 7 pad_h: 0 pad_w: 3"),
        'layer { name: "y" type: "Concat" bottom: "a" bottom: "b" top: "y" }',
    ],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_receptive_field_is_what_changes_an_output(chain):
    torch = pytest.importorskip("torch")
    text = "\n".join([INPUT, *CHAINS[chain]])
    field = analyse(netc.compile_net(text, phase="TEST")).row("y").field
    net = netc.load_net(text, phase="TEST")
    x = torch.ones(1, 1, 40, 33, requires_grad=True)
    y = net(data=x)["y"].sum(1)[0]
    at = (y.shape[0] // 2, y.shape[1] // 2)
    y[at].backward()
    touched = torch.nonzero(x.grad[0, 0])
    low, high = touched.min(0).values, touched.max(0).values
    for axis in (0, 1):
        start = field.start[axis] + at[axis] * field.stride[axis]
        assert (start, start + field.size[axis] - 1) == (low[axis], high[axis])


def test_fully_connected_after_flatten_sees_the_plane():
    flat = 'layer { name: "fc" type: "InnerProduct" bottom: "a" top: "fc" inner_product_param { num_output: 2 } }'
    text = "\n".join([INPUT, CONV.format("a", "data", "kernel_size: 3"), flat])
    assert analyse(netc.compile_net(text, phase="TEST")).row("fc").field.size == (40, 33)


def test_shared_parameters_are_counted_once_and_splits_left_out():
    conv = CONV.replace('type: "Conv', 'param {{ name: "w" }} type: "Conv')
    text = "\n".join([INPUT, conv.format("a", "data", "kernel_size: 3"), conv.format("b", "data", "kernel_size: 3")])
    found = analyse(netc.compile_net(text, phase="TEST"))
    assert [row.node.name for row in found.rows] == ["data", "a", "b"]
    assert (found.params, found.row("b").params) == (9, 0)
