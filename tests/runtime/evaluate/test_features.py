"""netc.features against computations that share no code with it: numpy layers on every window, by literal loops."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import conv2d, max_pool2d, relu

import netc
from netc.errors import NetcError

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 11 dim: 11 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "flat" type: "Flatten" bottom: "conv" top: "flat" }
layer { name: "fc1" type: "InnerProduct" bottom: "flat" top: "fc1"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } bias_filler { type: "uniform" max: 0.1 } } }
layer { name: "relu1" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "drop1" type: "Dropout" bottom: "fc1" top: "dropped" }
layer { name: "fc2" type: "InnerProduct" bottom: "dropped" top: "fc2"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""
MEAN = (103.0, 117.5, 124.0)
SIZES = [(11, 11), (15, 23), (31, 14), (15, 23), (1, 1)]


@pytest.fixture(scope="module")
def net():
    return netc.load_net(NET, seed=5)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(3)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def rescaled(pixels: np.ndarray, short: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    factor = short / min(height, width)
    image = Image.fromarray(pixels).resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR)
    return np.asarray(image).astype("f8")[:, :, ::-1].transpose(2, 0, 1) - np.reshape(MEAN, (3, 1, 1))


def hidden(net, crop: np.ndarray) -> dict[str, np.ndarray]:
    """The blobs of one 11 × 11 crop, in float64; of conv the mean of each channel."""
    w = {name: [blob.detach().numpy().astype("f8") for blob in blobs] for name, blobs in net.params.items()}
    conv = np.zeros((4, 5, 5)) + w["conv"][1][:, None, None]
    for row, column in product(range(5), range(5)):
        window = crop[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        conv[:, row, column] += (w["conv"][0] * window).sum((1, 2, 3))
    conv = np.maximum(conv, 0)
    fc1 = np.maximum(w["fc1"][0] @ conv.reshape(-1) + w["fc1"][1], 0)
    fc2 = w["fc2"][0] @ fc1 + w["fc2"][1]
    e = np.exp(fc2 - fc2.max())
    return {"fc1": fc1, "fc2": fc2, "prob": e / e.sum()}


def averaged(net, pixels: np.ndarray, scale: int, flip: bool, blob: str = "fc1") -> np.ndarray:
    """Every crop that the net's strides reach, one after the other."""
    x = rescaled(pixels, scale)
    sides = []
    for side in (x, x[:, :, ::-1]) if flip else (x,):
        tops, lefts = range(0, side.shape[1] - 10, 2), range(0, side.shape[2] - 10, 2)
        crops = [hidden(net, side[:, top : top + 11, left : left + 11])[blob] for top in tops for left in lefts]
        sides.append(np.mean(crops, axis=0))
    return np.mean(sides, axis=0)


def of_length_1(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).sum())


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("combine", ["average", "stack"])
def test_descriptors(net, pictures, combine: str, flip: bool) -> None:
    found = netc.features(net, pictures, scales=(13, 18), combine=combine, flip=flip, mean=MEAN)
    want = []
    for pixels in pictures:
        scales = [averaged(net, pixels, scale, flip) for scale in (13, 18)]
        want.append(of_length_1((scales[0] + scales[1]) / 2 if combine == "average" else np.concatenate(scales)))
    assert (found.shape, found.dtype) == ((5, 7 if combine == "average" else 14), np.float64)
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=1e-7)  # activations in float32
    np.testing.assert_allclose((found**2).sum(1), 1)


@pytest.mark.parametrize("blob", ["fc1", "dropped", "fc2", "prob"])
def test_a_blob_that_is_named(net, pictures, blob: str) -> None:
    found = netc.features(net, pictures[1], blob, (15,), normalise=False, mean=MEAN)[0]
    want = averaged(net, pictures[1], 15, True, "fc1" if blob == "dropped" else blob)
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=1e-6)


def test_all_zero_stays(net) -> None:
    black = netc.load_net(NET.replace('"uniform" max: 0.1', '"constant" value: -1e6'), seed=5)
    found = netc.features(black, np.zeros((12, 12, 3), np.uint8), scales=12, mean=MEAN)
    assert (found == 0).all()


def test_nothing_is_asked_of_no_image(net) -> None:
    assert netc.features(net, [], scales=(13, 18), combine="stack", mean=MEAN).shape == (0, 14)


LINEAR = """
layer { name: "fc2" type: "InnerProduct" bottom: "flat" top: "fc2" inner_product_param { num_output: 5 } }
"""


def test_a_plane_below_the_classifier(pictures) -> None:
    """Without a hidden layer: the channels of the plane, each averaged over the whole of it."""
    net = netc.load_net(NET.split('layer { name: "fc1"')[0] + LINEAR, seed=5)
    found = netc.features(net, pictures[1], scales=15, flip=False, normalise=False, mean=MEAN)[0]
    w, b = (blob.detach().numpy().astype("f8") for blob in net.params["conv"])
    x = rescaled(pictures[1], 15)
    places = list(product(range(7), range(11)))
    each = [np.maximum((w * x[:, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3]).sum((1, 2, 3)) + b, 0) for r, c in places]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=2e-5)


@pytest.mark.parametrize("name, blob", [("vgg_D", "fc7"), ("vgg_A", "fc7")])
def test_the_blob_below_the_classifier(name: str, blob: str) -> None:
    from netc.runtime.evaluate.describe import features_of

    assert tuple(features_of(netc.compile_net(name, phase="TEST"))) == (blob, 4096)


TWO = NET.replace('bottom: "fc2" top: "prob"', 'bottom: "sum" top: "prob"').replace(
    'layer { name: "prob"',
    'layer { name: "fc3" type: "InnerProduct" bottom: "dropped" top: "fc3" inner_product_param { num_output: 5 } }\n'
    'layer { name: "sum" type: "Eltwise" bottom: "fc2" bottom: "fc3" top: "sum" }\nlayer { name: "prob"',
)


def test_no_classifier_alone(pictures) -> None:
    net = netc.load_net(TWO, seed=1)
    with pytest.raises(NetcError, match='"sum" has 2 bottoms') as caught:
        netc.features(net, pictures, scales=15, mean=MEAN)
    assert (caught.value.code, "--blob" in caught.value.hint) == ("R741", True)
    assert netc.features(net, pictures, "fc1", 15, mean=MEAN).shape == (5, 7)


def test_several_heads(pictures) -> None:
    head = 'layer { name: "aux" type: "InnerProduct" bottom: "conv" top: "aux" inner_product_param { num_output: 5 } }'
    net = netc.load_net(NET + head, seed=1)
    with pytest.raises(NetcError, match="2 outputs") as caught:
        netc.features(net, pictures, scales=15, mean=MEAN)
    assert (caught.value.code, "--blob" in caught.value.hint) == ("R741", True)
    assert netc.features(net, pictures, "fc1", 15, mean=MEAN).shape == (5, 7)


@pytest.mark.parametrize(
    "given, code",
    [
        ({"blob": "fc"}, "R602"),
        ({"combine": "max"}, "R732"),
        ({"scales": (10,)}, "R732"),
        ({"scales": ()}, "R732"),
        ({"mean": None}, "R731"),
    ],
)
def test_wrong_calls(net, pictures, given: dict, code: str) -> None:
    with pytest.raises(NetcError) as caught:
        netc.features(net, pictures, **{"scales": 15, "mean": MEAN, **given})
    assert caught.value.code == code


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
def test_of_squeezenet_what_its_last_convolution_reads(version: str, shared: Path) -> None:
    """The net of its authors with random weights: 512 channels of the dropped fire9/concat, averaged over all places;
    against torch's functions, layer by layer."""
    path = shared / "zoo" / "prototxt" / f"forresti__SqueezeNet__SqueezeNet_{version}__deploy.prototxt"
    net = netc.load_net(str(path), shapes={"data": (1, 3, 67, 67)})
    draws = torch.Generator().manual_seed(2)
    for weights, bias in net.params.values():
        with torch.no_grad():
            weights.normal_(0, (2 / weights[0].numel()) ** 0.5, generator=draws)
            bias.normal_(0, 0.1, generator=draws)
    pixels = np.random.default_rng(1).integers(0, 256, (67, 80, 3), dtype=np.uint8)
    found = netc.features(net, pixels, scales=67, flip=False, normalise=False, mean=MEAN)
    assert found.shape == (1, 512)
    w = net.params
    x = torch.from_numpy(rescaled(pixels, 67)[None].astype("f4"))
    x = relu(conv2d(x, *w["conv1"], stride=2))
    pools = {"v1.0": (1, 4, 8), "v1.1": (1, 3, 5)}[version]
    for fire in range(1, 10):
        if fire > 1:
            x = relu(conv2d(x, *w[f"fire{fire}/squeeze1x1"]))
            one, three = (w[f"fire{fire}/expand{side}x{side}"] for side in (1, 3))
            x = relu(torch.cat([conv2d(x, *one), conv2d(x, *three, padding=1)], 1))
        if fire in pools:
            x = max_pool2d(x, 3, 2, ceil_mode=True)
    want = x.mean((2, 3)).detach().double().numpy()
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5 * want.max())
    assert np.array_equal(found, netc.features(net, pixels, "fire9/concat", 67, flip=False, normalise=False, mean=MEAN))
