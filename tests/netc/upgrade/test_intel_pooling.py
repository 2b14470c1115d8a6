"""Intel's fork leaves out a pooling's last window beyond the image where a side of the kernel is 1, too."""

from __future__ import annotations

import math

import pytest
import torch

import netc

NET = """{net}
layer {{ name: "d" type: "Input" top: "d" input_param {{ shape {{ dim: 1 dim: 2 dim: 6 dim: 9 }} }} {layer} }}
layer {{ name: "p" type: "Pooling" bottom: "d" top: "p" pooling_param {{ {pool} }} }}"""

BY_FIELDS = {
    "engine of the net": {"net": 'engine: "MKLDNN"'},
    "bn_stats_batch_size": {"net": "bn_stats_batch_size: 1"},
    "engine of a layer": {"layer": 'engine: "MKL2017"'},
    "quantization_param": {"layer": "quantization_param { bw_params: 8 }"},
    "engine of a type": {"pool": "engine: MKL2017"},
}


def size(window: str, **given: str) -> tuple[int, ...]:
    net = netc.load_net(NET.format(**{"net": "", "layer": "", **given, "pool": f"{window} {given.get('pool', '')}"}))
    shape = tuple(net(d=torch.zeros(1, 2, 6, 9))["p"].shape[2:])
    assert shape == net.graph.shapes["p"][2:]
    return shape


def expected(kernel: tuple[int, int], stride: int, clip: bool) -> tuple[int, ...]:
    """intel/caffe, pooling_layer.cpp: Reshape."""
    sizes = [math.ceil((n - k) / stride) + 1 for n, k in zip((6, 9), kernel, strict=True)]
    return tuple(m - (clip and (m - 1) * stride >= n) for m, n in zip(sizes, (6, 9), strict=True))


@pytest.mark.parametrize("fields", BY_FIELDS)
def test_a_net_with_fields_of_intels(fields: str) -> None:
    for pool, kernel in (("kernel_size: 1", (1, 1)), ("kernel_h: 2 kernel_w: 1", (2, 1)), ("kernel_size: 2", (2, 2))):
        text = f"{pool} {'stride_h: 4 stride_w: 4' if 'kernel_h' in pool else 'stride: 4'}"
        assert size(text, **BY_FIELDS[fields]) == expected(kernel, 4, 1 in kernel), pool


def test_caffes_own_and_the_option() -> None:
    assert size("kernel_size: 1 stride: 4") == expected((1, 1), 4, False) == (3, 3)
    assert size("kernel_size: 1 stride: 4 clip: true") == (2, 3)
    assert size("kernel_size: 1 stride: 4 clip: false", net='engine: "MKLDNN"') == (3, 3)
