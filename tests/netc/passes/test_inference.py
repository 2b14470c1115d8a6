"""Fewer layers, the same values: against torch run layer by layer on the unfolded net."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc.errors import NetcError
from netc.graph.compile import compile_net
from netc.passes.inference import Optimised, optimised
from netc.runtime.net.module import Net

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 7 dim: 6 } } }\n'


def conv(name: str, bottom: str, top: str = "", more: str = "", param: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top or name}" {param} '
        f'convolution_param {{ num_output: 6 kernel_size: 3 weight_filler {{ type: "xavier" }} {more} }} }}\n'
    )


def layer(kind: str, name: str, bottom: str, top: str = "", more: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top or bottom}" {more} }}\n'


BN, SCALE = layer("BatchNorm", "bn", "c"), layer("Scale", "sc", "c", more="scale_param { bias_term: true }")
RELU = layer("ReLU", "re", "c")


def folded(text: str, keep: Any = ()) -> Optimised:
    """The net optimised, and compared with itself."""
    net = netc.load_net(text)
    random = np.random.default_rng(3)
    for arrays in net.params.values():
        for array in arrays:
            array.detach().copy_(torch.from_numpy(random.uniform(0.3, 1.2, array.shape)))
    before = {name: [array.detach().numpy().copy() for array in arrays] for name, arrays in net.params.items()}
    found = optimised(net.graph, before, keep)
    graph = compile_net(found.param, "TEST")
    other = Net(graph, start=lambda net: net.copy_from(found.weights).written(net.params) if found.weights else ())
    x = torch.from_numpy(random.normal(size=(2, 4, 7, 6)).astype("f4"))
    assert set(graph.outputs) == set(net.graph.outputs)
    blobs = [*net.graph.outputs, *keep]
    wanted, got = net(x, blobs=blobs), other(x, blobs=blobs)
    for name in blobs:
        assert float((wanted[name] - got[name]).abs().max()) <= 1e-5 * float(wanted[name].abs().max()), name
    return found


def kinds(found: Optimised) -> list[str]:
    return [param.type for param in found.param.layer]


@pytest.mark.parametrize(
    "text, left",
    [
        (conv("c", "x") + BN + SCALE + RELU, "Convolution ReLU"),
        (conv("c", "x", more="bias_term: false group: 2") + BN + SCALE, "Convolution"),
        (conv("c", "x").replace('"Convolution"', '"Deconvolution"') + BN + SCALE + RELU, "Deconvolution ReLU"),
        (conv("c", "x", more="group: 2").replace('"Convolution"', '"Deconvolution"') + BN, "Deconvolution"),
        (conv("c", "x") + layer("BatchNorm", "bn", "c", "b") + layer("Scale", "sc", "b", "s"), "Convolution"),
        (conv("c", "x") + layer("Bias", "b", "c"), "Convolution"),
        (conv("c", "x") + layer("Power", "p", "c", more="power_param { scale: 0.5 shift: 2 }"), "Convolution"),
        (layer("Power", "p", "x", "p", "power_param { scale: 0.5 }") + conv("c", "p", more="pad: 1"), "Convolution"),
        (layer("Power", "p", "x", "p", "power_param { scale: 0.5 shift: 3 }") + conv("c", "p"), "Convolution"),
        (
            layer("Scale", "p", "x", "p", "scale_param { bias_term: true }") + conv("c", "p", more="group: 2"),
            "Convolution",
        ),
        (
            layer("InnerProduct", "c", "x", "c", "inner_product_param { num_output: 3 transpose: true }")
            + layer("Scale", "s", "c", "s")
            + layer("Dropout", "d", "s", "d"),
            "InnerProduct",
        ),
        (
            layer("BatchNorm", "p", "x", "p")
            + layer("Scale", "s", "p", "p", "scale_param { bias_term: true }")
            + layer("InnerProduct", "c", "p", "c", "inner_product_param { num_output: 3 }"),
            "InnerProduct",
        ),
        (layer("BatchNorm", "p", "x", "p") + layer("Scale", "s", "p", "p") + layer("ReLU", "r", "p"), "Scale ReLU"),
    ],
)
def test_what_is_folded(text: str, left: str) -> None:
    found = folded(INPUT + text)
    assert kinds(found) == ["Input", *left.split()]
    assert not [name for name, _, _ in found.left if name != "s"]


@pytest.mark.parametrize(
    "text, why",
    [
        (layer("BatchNorm", "bn", "c", more="batch_norm_param { use_global_stats: false }"), "those of each batch"),
        (layer("BatchNorm", "bn", "c", "b") + layer("ReLU", "r", "c", "r"), "read elsewhere"),
        (layer("Power", "p", "c", "p", "power_param { power: 2 }"), "power is not 1"),
        (layer("Scale", "s", "c", "s", "scale_param { axis: 1 num_axes: 3 }"), "several axes"),
        (layer("Scale", "s", "c", "s", "scale_param { axis: 2 num_axes: 1 }"), "not that of the channels"),
        (layer("ReLU", "r", "c") + layer("Scale", "s", "c"), "no weights"),
    ],
)
def test_what_is_left_has_a_reason(text: str, why: str) -> None:
    found = folded(INPUT + conv("c", "x") + text)
    assert [reason for _, _, reason in found.left if why in reason], found.left
    assert not found.folded


def test_shared_weights_are_left() -> None:
    two = 'param { name: "w" } param { name: "b" }'
    text = INPUT + conv("c", "x", param=two) + BN + conv("d", "x", param=two)
    found = folded(text)
    assert any("shared" in why for _, _, why in found.left)
    assert not found.folded


def test_an_affine_layer_before_padding_stays_if_it_adds() -> None:
    found = folded(INPUT + layer("Power", "p", "x", "p", "power_param { shift: 1 }") + conv("c", "p", more="pad: 1"))
    assert "zeros around" in found.left[0][2]


def test_a_blob_that_is_asked_for_stays() -> None:
    text = INPUT + conv("c", "x") + layer("BatchNorm", "bn", "c", "b") + layer("ReLU", "r", "b", "r")
    assert folded(text).gone == ["c"]
    assert folded(text, keep=["c"]).gone == []
    assert "asked for" in folded(text, keep=["c"]).left[0][2]


def test_dropout_between_blobs_of_other_names() -> None:
    text = INPUT + conv("c", "x") + layer("Dropout", "d", "c", "d") + layer("ReLU", "r", "c", "r")
    found = folded(text + layer("Sigmoid", "s", "d", "s") + layer("Dropout", "e", "s", "e"))
    assert found.removed == [("d", "Dropout"), ("e", "Dropout")]
    assert folded(text).left == [("d", "Dropout", 'its bottom "c" is read elsewhere, too')]


def test_dropout_that_draws_in_test_stays() -> None:
    net = netc.load_net(INPUT + layer("Dropout", "d", "x", "d", "dropout_param { sample_weights_test: true }"))
    assert kinds(optimised(net.graph, {})) == ["Input", "Dropout"]


def test_a_net_that_learns_is_refused() -> None:
    with pytest.raises(NetcError) as caught:
        optimised(compile_net(INPUT + conv("c", "x"), "TRAIN"), {})
    assert caught.value.code == "R770"


SPLIT = 'layer { name: "s" type: "Split" bottom: "c" top: "a" top: "b" }\n'


@pytest.mark.parametrize(
    "text, keep, left",
    [
        (conv("c", "x") + BN + SPLIT + layer("ReLU", "re", "a", "y"), (), "Convolution Split ReLU"),
        (
            conv("c", "x") + BN + SPLIT + layer("ReLU", "re", "a") + layer("ReLU", "r2", "b"),
            (),
            "Convolution ReLU ReLU",
        ),
        (conv("c", "x") + SPLIT + layer("ReLU", "re", "a", "y") + layer("ReLU", "r2", "b", "z"), ("a",), None),
    ],
)
def test_a_split_that_names_an_output_stays(text: str, keep: Any, left: str | None) -> None:
    found = folded(INPUT + text, keep)
    assert left is None or kinds(found)[1:] == left.split()
