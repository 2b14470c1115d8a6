"""netc.posteriors against computations that share no code with it: numpy layers, literal loops, Pillow's own resize."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import netc
from netc.errors import NetcError

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 5 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool1" type: "Pooling" bottom: "conv" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "pool2" type: "Pooling" bottom: "pool1" top: "pool2"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool2" top: "fc1"
  inner_product_param { num_output: 9 weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2"
  inner_product_param { num_output: 6 weight_filler { type: "gaussian" std: 0.02 } } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""
MEAN = (103.0, 117.5, 124.0)
"""Blue, green, red."""


@pytest.fixture(scope="module")
def net():
    return netc.load_net(NET, seed=5)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# -- the net in numpy, float64 -----------------------------------------------------------------------------------------


def rescaled(pixels: np.ndarray, short: int) -> np.ndarray:
    """Pillow's smoothed bilinear filter, the longer side rounded; minus the mean, as (BGR, H, W)."""
    height, width = pixels.shape[:2]
    factor = short / min(height, width)
    size = (max(short, round(width * factor)), max(short, round(height * factor)))
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image).astype("f8")[:, :, ::-1].transpose(2, 0, 1) - np.reshape(MEAN, (3, 1, 1))


def weights(net) -> dict[str, list[np.ndarray]]:
    return {name: [blob.detach().numpy().astype("f8") for blob in blobs] for name, blobs in net.params.items()}


def pooled(x: np.ndarray, function) -> np.ndarray:
    """2 × 2, stride 2, the number of windows rounded up: the last one is cut off by the image."""
    rows, columns = -(-x.shape[1] // 2), -(-x.shape[2] // 2)
    out = np.empty((len(x), rows, columns))
    for row, column in product(range(rows), range(columns)):
        out[:, row, column] = function(x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2], axis=(1, 2))
    return out


def score_map(net, x: np.ndarray) -> np.ndarray:
    """(classes, rows, columns): the fully-connected layers on each 4 × 4 window of pool2."""
    w = weights(net)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    conv = np.zeros((5, *x.shape[1:])) + w["conv"][1][:, None, None]
    for row, column in product(range(3), range(3)):
        taps = padded[:, row : row + x.shape[1], column : column + x.shape[2]]
        conv += np.tensordot(w["conv"][0][:, :, row, column], taps, 1)
    pool = pooled(pooled(np.maximum(conv, 0), np.max), np.mean)
    rows, columns = pool.shape[1] - 3, pool.shape[2] - 3
    out = np.empty((6, rows, columns))
    for row, column in product(range(rows), range(columns)):
        hidden = w["fc1"][0] @ pool[:, row : row + 4, column : column + 4].reshape(-1) + w["fc1"][1]
        out[:, row, column] = w["fc2"][0] @ hidden + w["fc2"][1]
    return out


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


def sides(x: np.ndarray, flip: bool) -> list[np.ndarray]:
    return [x, x[:, :, ::-1]] if flip else [x]


def dense(net, pixels, scales, flip, order) -> np.ndarray:
    found = []
    for scale in scales:
        for x in sides(rescaled(pixels, scale), flip):
            scores = score_map(net, x).reshape(6, -1)
            found.append(softmax(scores.mean(1)) if order == "scores" else softmax(scores).mean(1))
    return np.mean(found, axis=0)


def crops(net, pixels, scales, flip) -> np.ndarray:
    found = []
    for scale in scales:
        x = rescaled(pixels, scale)
        for i, j in product(range(5), range(5)):
            top = int(np.rint(i * (x.shape[1] - 16) / 4))
            left = int(np.rint(j * (x.shape[2] - 16) / 4))
            for crop in sides(x[:, top : top + 16, left : left + 16], flip):
                found.append(softmax(score_map(net, crop)[:, 0, 0]))
    return np.mean(found, axis=0)


# -- against netc ------------------------------------------------------------------------------------------------------

SIZES = [(16, 16), (21, 37), (40, 18), (1, 1)]


@pytest.mark.parametrize("scales, order", [((16,), "scores"), ((19, 23), "posteriors"), ((21,), "scores")])
def test_dense(net, scales, order) -> None:
    pixels = [picture(*size, seed) for seed, size in enumerate(SIZES)]
    found = netc.posteriors(net, pixels, scales, flip=True, order=order, mean=MEAN)
    want = [dense(net, one, scales, True, order) for one in pixels]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=1e-7)  # scores in float32


def test_dense_maps_round_up(net) -> None:
    """21 pixels: 11, 6, 3 places; rounding down it were 10, 5, 2."""
    assert score_map(net, np.zeros((3, 21, 16))).shape == (6, 3, 1)
    tall = picture(21, 16)
    found = netc.posteriors(net, tall, 16, flip=False, mean=MEAN)[0]
    np.testing.assert_allclose(found, dense(net, tall, (16,), False, "scores"), rtol=2e-5)


@pytest.mark.parametrize("flip", [True, False])
def test_crops(net, flip: bool) -> None:
    pixels, scales = [picture(23, 35, 1), picture(50, 21, 2)], (18, 25) if flip else (19,)
    found = netc.posteriors(net, pixels, scales, "crops", flip, mean=MEAN)
    np.testing.assert_allclose(found, [crops(net, one, scales, flip) for one in pixels], rtol=2e-5, atol=1e-7)


def test_both_is_the_mean_of_dense_and_crops(net) -> None:
    pixels = picture(23, 35, 3)
    found = netc.posteriors(net, pixels, (18,), "both", mean=MEAN)[0]
    want = (dense(net, pixels, (18,), True, "scores") + crops(net, pixels, (18,), True)) / 2
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=1e-7)


def test_the_centre(net) -> None:
    pixels = picture(23, 35, 4)
    x = rescaled(pixels, 19)
    left = (x.shape[2] - 16) // 2
    want = softmax(score_map(net, x[:, 1:17, left : left + 16])[:, 0, 0])
    np.testing.assert_allclose(netc.posteriors(net, pixels, 19, "centre", False, mean=MEAN)[0], want, rtol=2e-5)


@pytest.mark.parametrize("view", ["dense", "crops", "centre"])
def test_all_looks_lie_in_memory_as_convolutions_are_fast(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirrored ones too, which once took half as long again."""
    net, seen = netc.load_net(NET, seed=5), []
    real = type(net).forward

    def spied(self, *args, **kwargs):
        seen.extend(x for given in args for x in given.values())
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(net), "forward", spied)
    netc.posteriors(net, [picture(20, 27), picture(20, 27, 1)], scales=(18,), view=view, flip=True, mean=MEAN)
    assert len(seen) >= 2
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


def test_images_come_as_paths_pictures_and_arrays(net, tmp_path: Path) -> None:
    pixels = picture(23, 35, 5)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    turned = Image.fromarray(pixels.transpose(1, 0, 2)[:, ::-1])
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned a quarter to the left
    turned.save(tmp_path / "b.png", exif=exif)
    given = [
        str(tmp_path / "a.png"),
        tmp_path / "a.png",
        image,
        pixels,
        tmp_path / "b.png",
        Image.open(tmp_path / "b.png"),
    ]
    found = netc.posteriors(net, given, 20, mean=MEAN)
    assert (found == found[0]).all()


def test_other_kinds_of_pictures(net, tmp_path: Path) -> None:
    """Gray, with a palette, CMYK and 16 bits are colour pictures to a net that takes these."""
    gray = Image.fromarray(picture(23, 35, 6)[..., 0])
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 256)
    files = {"gray.png": gray, "deep.png": deep, "rgb.png": gray.convert("RGB")}
    for name, image in files.items():
        image.save(tmp_path / name)
    gray.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    found = netc.posteriors(net, [tmp_path / name for name in (*files, "cmyk.jpg")], 20, mean=MEAN)
    assert (found[:3] == found[0]).all()
    np.testing.assert_allclose(found[3], found[0], atol=0.02)  # JPEG


def test_what_the_net_says_of_its_pixels() -> None:
    """A data layer's mean and scale; scores and posteriors of a net that is gray."""
    source = """layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "no" batch_size: 2 }
      transform_param { crop_size: 16 scale: 0.5 mean_value: 100 force_gray: true } }"""
    text = NET.replace(NET[: NET.index('layer { name: "conv"')], source + "\n")
    gray = netc.load_net(text, seed=5, shapes={"data": (2, 1, 20, 20)})
    by_hand = netc.load_net(NET.replace("dim: 3", "dim: 1", 1), seed=5)
    by_hand.copy_from({name: [b.detach().numpy() for b in blobs] for name, blobs in gray.params.items()})
    pixels = np.repeat(picture(23, 35, 7)[..., :1], 3, axis=2)
    found = netc.posteriors(gray, pixels, 16, "centre", False)
    small = np.asarray(Image.fromarray(pixels[..., 0]).resize((24, 16), Image.Resampling.BILINEAR)).astype("f4")
    want = by_hand(netc_input(small[:, 4:20]))["prob"].detach().numpy()
    np.testing.assert_allclose(found, want, rtol=1e-5)


def netc_input(gray: np.ndarray):
    import torch

    return torch.from_numpy((gray - np.float32(100)) * np.float32(0.5))[None, None]


WRONG = [
    ({}, "R731", "the mean of the net's images is not known"),
    ({"mean": MEAN, "scales": (15,)}, "R732", "smaller than the classifier's input, 16×16"),
    ({"mean": MEAN, "scales": ()}, "R732", "scales are"),
    ({"mean": MEAN, "scales": (20, 20)}, "R732", "scales are"),
    ({"mean": MEAN, "view": "whole"}, "R732", "view is 'whole'"),
    ({"mean": MEAN, "order": "scored"}, "R732", "order is 'scored'"),
    ({"mean": MEAN, "view": None}, "R732", "view is None"),
    ({"mean": MEAN, "view": ["dense"]}, "R732", "view is"),
    ({"mean": MEAN, "scales": None}, "R732", "scales are"),
    ({"mean": MEAN, "scales": 20.0}, "R732", "scales are"),
    ({"mean": MEAN, "scales": "20"}, "R732", "scales are"),
    ({"mean": MEAN, "scales": True}, "R732", "scales are"),
    ({"mean": (1, 2)}, "R732", "mean is"),
    ({"mean": ("a", "b", "c")}, "R732", "mean is"),
    ({"mean": {"blue": 1}}, "R732", "mean is"),
    ({"mean": np.zeros((4, 5, 5))}, "R732", r"mean is an array of \(4, 5, 5\)"),
    ({"mean": "absent.npy"}, "F120", "absent.npy"),
    ({"mean": MEAN, "crop": "big"}, "R732", "crop is"),
    ({"mean": MEAN, "crop": 16.0}, "R732", "crop is"),
    ({"mean": MEAN, "crop": True}, "R732", "crop is"),
]


@pytest.mark.parametrize("options, code, said", WRONG)
def test_wrong_settings(net, options, code, said) -> None:
    with pytest.raises(NetcError, match=said) as found:
        netc.posteriors(net, [picture(20, 20)], **({"scales": 20} | options))
    assert found.value.code == code


def test_wrong_images(net, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0nothing")
    for given, code, said in (
        (tmp_path / "broken.jpg", "D520", "broken.jpg"),
        (tmp_path / "absent.jpg", "D520", "No such file"),
        (picture(8, 8).astype("f4"), "R734", "float32"),
        (3, "R734", "is a int"),
    ):
        with pytest.raises(NetcError, match=said) as found:
            netc.posteriors(net, [picture(20, 20), given], 20, mean=MEAN)
        assert found.value.code == code


@pytest.mark.parametrize("images", [None, 3, b"photo.jpg"])
def test_what_holds_no_images(net, images) -> None:
    with pytest.raises(NetcError, match="images are of the type") as found:
        netc.posteriors(net, images, 20, mean=MEAN)
    assert found.value.code == "R734"


def test_a_mean_by_any_name(net, tmp_path: Path) -> None:
    """Numbers, an image, or a file of either, as on the command line."""
    image = np.random.default_rng(1).uniform(90, 130, (3, 8, 9))
    np.save(tmp_path / "mean.npy", image)
    given = [picture(20, 22)]
    want = netc.posteriors(net, given, 20, mean=image.mean((1, 2)).tolist())
    for mean in (image, tmp_path / "mean.npy", str(tmp_path / "mean.npy")):
        np.testing.assert_allclose(netc.posteriors(net, given, 20, mean=mean), want, rtol=1e-4)
    want = netc.posteriors(net, given, 20, mean=MEAN)
    np.testing.assert_array_equal(netc.posteriors(net, given, 20, mean="103,117.5,124"), want)


def test_a_net_of_its_inputs_that_has_losses() -> None:
    """Labels and losses are no part of a classifier, wherever the labels come from."""
    labels = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 } } }\n'
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc2" bottom: "label" top: "loss" }\n'
    accuracy = 'layer { name: "accuracy" type: "Accuracy" bottom: "fc2" bottom: "label" top: "accuracy" }\n'
    judged, plain = netc.load_net(labels + NET + loss + accuracy, seed=5), netc.load_net(NET, seed=5)
    for view in ("dense", "crops"):
        found, want = (netc.posteriors(net, [picture(21, 37)], 18, view, mean=MEAN) for net in (judged, plain))
        np.testing.assert_array_equal(found, want)
    pair = [netc.features(net, [picture(21, 37)], scales=18, mean=MEAN) for net in (judged, plain)]
    np.testing.assert_array_equal(*pair)


@pytest.mark.parametrize("given", ["vgg_D", None, object()])
def test_what_is_no_net(given) -> None:
    for function in (netc.posteriors, netc.features):
        with pytest.raises(NetcError, match="the net is of the type") as found:
            function(given, [picture(20, 20)], scales=20, mean=MEAN)
        assert found.value.code == "R743"


def test_a_training_net_is_refused() -> None:
    with pytest.raises(NetcError, match="TRAIN") as found:
        netc.posteriors(netc.load_net(NET, "TRAIN"), [picture(20, 20)], 20, mean=MEAN)
    assert found.value.code == "R735"
