"""Dense application of a net against the classifier itself, and crop by crop where no padding is involved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import netc
from netc.errors import NetcError
from netc.runtime.evaluate.dense import dense, scores_of
from netc.runtime.net.module import Net

VALID = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 19 dim: 15 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 5 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool" top: "fc1"
  inner_product_param { num_output: 11 weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }
layer { name: "drop" type: "Dropout" bottom: "fc1" top: "fc1" }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""
"""Without padding, and with even sizes before each stride, so that the map's places are crops and nothing else."""


def random_net(text: str) -> Net:
    return netc.load_net(text, seed=3)


def test_each_place_is_the_classifier_on_its_window() -> None:
    net = random_net(VALID)
    found = dense(net)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 27, 31)).astype("f4"))
    scores = found.map(x)
    places = found.places(*scores.shape[2:])
    assert (found.stride, found.size, scores.shape) == ((4, 4), (19, 15), (2, 7, 3, 5))
    for row in range(3):
        for column in range(5):
            left, top, right, bottom = places[row, column].tolist()
            with torch.no_grad():
                want = net(x[:, :, top:bottom, left:right], blobs=["fc2"])["fc2"]
            assert (scores[:, :, row, column] - want).abs().max() <= 1e-6 * want.abs().max()


GROUPED = VALID.replace("num_output: 6 kernel_size: 5", "num_output: 6 group: 3 pad: 2 kernel_size: 5")


@pytest.mark.parametrize("text", [VALID, GROUPED], ids=["plain", "grouped and padded"])
def test_at_the_compiled_size_it_is_the_classifier_bit_for_bit(text: str) -> None:
    net = random_net(text)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 3, 19, 15)).astype("f4"))
    scores = dense(net).map(x)
    with torch.no_grad():
        assert torch.equal(scores[..., 0, 0], net(x, blobs=["fc2"])["fc2"])


def test_parameters_are_shared() -> None:
    net = random_net(VALID)
    found = dense(net)
    weight, bias = found.net.params["fc1"]
    assert weight.shape == (11, 6, 4, 3)
    assert [t.data_ptr() for t in (weight, bias)] == [t.data_ptr() for t in net.params["fc1"]]
    with torch.no_grad():
        net.params["fc1"][0].fill_(0.5)
    assert bool((found.net.params["fc1"][0] == 0.5).all())


def test_weights_of_the_classifier_fit_its_convolutional_form(tmp_path) -> None:
    from netc.cli import _main

    (tmp_path / "net.prototxt").write_text(VALID)
    assert _main.run(["convolutional", f"{tmp_path}/net.prototxt", "-o", f"{tmp_path}/conv.prototxt"]) == 0
    net = random_net(VALID)
    made = netc.load_net(
        str(tmp_path / "conv.prototxt"), weights={n: [t.detach().numpy() for t in p] for n, p in net.params.items()}
    )
    x = torch.ones(1, 3, 27, 31)
    with torch.no_grad():
        want = dense(net).map(x)
        assert torch.equal(made(x, blobs=["fc2"])["fc2"], want)
    # a matrix of other rows is no kernel
    wrong = {"fc1": [np.zeros((72, 11), "f4"), np.zeros(11, "f4")]}
    with pytest.raises(NetcError, match="needs 11×6×4×3"):
        made.copy_from(wrong)


def test_large_kernels_as_products() -> None:
    """Against float64, over a small map (a product) and a large one (a convolution)."""
    from netc.layers.functions import convolution

    rng = np.random.default_rng(2)
    weight = torch.from_numpy(rng.normal(size=(9, 5, 4, 3)))
    bias = torch.from_numpy(rng.normal(size=9))
    steps = ((1, 1), (0, 0), (1, 1))
    for size in ((4, 3), (5, 3), (6, 5), (20, 30)):
        x = torch.from_numpy(rng.normal(size=(1, 5, *size)))
        want = torch.nn.functional.conv2d(x, weight, bias)
        found = convolution.convolve(x.float(), weight.float(), bias.float(), 1, *steps)
        assert convolution.is_product(x, weight, *steps) == (size in ((4, 3), (5, 3)))
        assert (found - want).abs().max() < 1e-6 * want.abs().max()
        assert found.shape == want.shape


def test_the_scores_of_a_net() -> None:
    net = random_net(VALID)
    assert scores_of(net.graph) == ("fc2", 7)
    two = VALID + 'layer { name: "also" type: "ReLU" bottom: "fc1" top: "also" }'
    graph = netc.compile_net(two, "TEST")
    with pytest.raises(NetcError, match="2 outputs: also, prob"):
        scores_of(graph)
    assert scores_of(graph, "prob") == ("fc2", 7)


def test_vgg_rounds_up_as_caffe() -> None:
    """256 × 341 gives 2 × 5 places with Caffe's pooling, where rounding down gives 2 × 4 (T3)."""
    from netc.passes.convolutional import convolutional

    form = convolutional(netc.compile_net("models/vgg_A/deploy.prototxt", "TEST"))
    assert form.sized(256, 341).shapes["prob"] == (1, 1000, 2, 5)
    assert form.converted == ["fc6", "fc7", "fc8"]
