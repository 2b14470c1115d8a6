"""Channel order, scale and mean in the first convolution: the same values, borders included, by torch's own one.

Tolerance: weights are rounded once more to float32, so sums of 27 products differ by some units of 1e-7 of the largest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from netc import proto, weights
from netc.errors import NetcError
from netc.weights.card import Preprocessing
from netc.weights.model import open_model
from netc.weights.rgb import MEAN, STD, fold_rgb, folded_mean

CAFFES = [104.0, 117.0, 124.0]  # blue, green, red

NET = """
name: "n"
layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: {channels} dim: 9 dim: 14 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{
  num_output: 4 kernel_size: 3 stride: 2 pad: {pad} bias_term: {bias} group: {group} }} }}
{more}
"""


def model(tmp_path, pad=0, bias=True, group=1, channels=3, more=""):
    random = np.random.default_rng(5)
    arrays = [random.standard_normal((4, channels // group, 3, 3)).astype("f4"), random.standard_normal(4).astype("f4")]
    net = proto.NetParameter(name="n")
    net.layer.add(name="conv", type="Convolution")
    path = tmp_path / "n.caffemodel"
    weights.write_caffemodel(path, net, {"conv": arrays[: 1 + bias]})
    text = NET.format(pad=pad, bias=str(bias).lower(), group=group, channels=channels, more=more)
    return open_model(path, text)


def test_half_precision_is_not_rounded_to_again(tmp_path):
    before = model(tmp_path)
    half = [entry._replace(array=entry.array.astype("<f2")) for entry in before.entries]
    after, _ = fold_rgb(replace(before, entries=half), Preprocessing("BGR", mean=CAFFES, scale=1.0))
    assert [entry.array.dtype for entry in after.entries] == ["<f4", "<f4"]


def convolved(pixels, arrays, pad):
    """In float64, so that only the weights' own rounding shows."""
    weight, *bias = (torch.from_numpy(np.array(array, "f8")) for array in arrays)
    return F.conv2d(torch.from_numpy(pixels), weight, bias[0] if bias else None, stride=2, padding=pad).numpy()


@pytest.mark.parametrize("scale", [1.0, 0.017])
@pytest.mark.parametrize("pad, bias, own_mean", [(0, True, False), (1, True, True), (2, False, True), (0, False, True)])
def test_the_folded_convolution_gives_the_same(tmp_path, pad, bias, own_mean, scale):
    before = model(tmp_path, pad, bias)
    shown = Preprocessing("BGR", mean=CAFFES, scale=scale)
    after, preprocessing = fold_rgb(before, shown)
    assert folded_mean(preprocessing) is not own_mean
    assert preprocessing.std == list(STD)
    assert preprocessing.mean == pytest.approx([124 / 255, 117 / 255, 104 / 255] if own_mean else MEAN)

    rgb = np.random.default_rng(6).integers(0, 256, (2, 3, 9, 14)).astype("f8")
    x = (rgb[:, ::-1] - np.reshape(CAFFES, (3, 1, 1))) * scale
    y = (rgb / 255 - np.reshape(preprocessing.mean, (3, 1, 1))) / np.reshape(preprocessing.std, (3, 1, 1))
    expected = convolved(x.copy(), before.layers()["conv"], pad)
    found = convolved(y, after.layers()["conv"], pad)
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


def test_the_mean_does_not_go_into_the_bias_of_a_padded_convolution(tmp_path):
    """What would happen at the border: a difference that is not a rounding."""
    before = model(tmp_path, pad=1)
    inside, _ = fold_rgb(model(tmp_path, pad=0), Preprocessing("BGR", mean=CAFFES))
    rgb = np.random.default_rng(6).integers(0, 256, (2, 3, 9, 14)).astype("f8")
    x = rgb[:, ::-1] - np.reshape(CAFFES, (3, 1, 1))
    y = (rgb / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    difference = np.abs(convolved(x.copy(), before.layers()["conv"], 1) - convolved(y, inside.layers()["conv"], 1))
    assert difference[:, :, 1:-1, 1:-1].max() < 1e-3
    assert difference[:, :, 0].max() > 1


def test_what_is_not_folded(tmp_path):
    before = model(tmp_path)
    after, _ = fold_rgb(before, Preprocessing("BGR", mean=[0.0] * 3))
    assert before.entries[0].array is not after.entries[0].array
    assert [entry.key for entry in after.entries] == [entry.key for entry in before.entries]


POOL = 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 2 } }'
OTHER = 'layer { name: "i2" type: "Input" top: "info" input_param { shape { dim: 1 dim: 3 } } }'


@pytest.mark.parametrize(
    "settings, code", [({"more": POOL}, "W769"), ({"more": OTHER}, "W769"), ({"channels": 1}, "W769")]
)
def test_nets_that_nothing_can_be_folded_into(tmp_path, settings, code):
    with pytest.raises(NetcError) as caught:
        fold_rgb(model(tmp_path, **settings), Preprocessing("BGR", mean=CAFFES))
    assert caught.value.code == code


def test_the_mean_must_be_known(tmp_path):
    with pytest.raises(NetcError) as caught:
        fold_rgb(model(tmp_path), Preprocessing("BGR"))
    assert caught.value.code == "W768"
