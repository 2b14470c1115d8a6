"""Nets over pictures: Classifier, Detector, and BVLC's GoogLeNet as the notebooks use it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from PIL import Image

import netc.pycaffe as caffe
from netc.errors import NetcError
from tests.runtime.pycaffe.nets import written
from tests.zoo import googlenet

MEAN = np.array([104.0, 117.0, 123.0])


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "zoo/caffemodel/bvlc_googlenet"


def photos(shared: Path, number: int) -> list[tuple[Path, int]]:
    """Photos of the validation set with their labels, one of each of several classes."""
    names = (shared / "zoo/images/ilsvrc12/synsets.txt").read_text().split()
    folders = sorted((shared / "zoo/images/ilsvrc_val").iterdir())
    firsts = [sorted(folder.glob("*.JPEG"))[0] for folder in folders if folder.is_dir()]
    return [(path, names.index(path.parent.name)) for path in firsts[:number]]


def test_googlenet_by_transformer_and_forward(shared: Path, folder: Path) -> None:
    """The classification notebook: the label is among the first five of nearly all photos."""
    net = caffe.Net(str(folder / "deploy.prototxt"), str(folder / "bvlc_googlenet.caffemodel"), caffe.TEST)
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", MEAN)
    transformer.set_raw_scale("data", 255)
    transformer.set_channel_swap("data", (2, 1, 0))
    net.blobs["data"].reshape(1, 3, 224, 224)
    found = 0
    for path, label in photos(shared, 5):
        image = caffe.io.load_image(str(path))
        net.blobs["data"].data[...] = transformer.preprocess("data", image)
        prob = net.forward()["prob"][0]
        found += label in prob.argsort()[::-1][:5]
        assert prob.sum() == pytest.approx(1, abs=1e-5)
    assert found >= 4
    assert net.blobs["inception_3a/1x1"].data.min() == 0, "the blob of a layer in place is what that made"


def test_googlenets_known_predictions(shared: Path, folder: Path) -> None:
    """Somebody's record of the model's answers (pred_square.tsv: resized by Pillow to 256×256, the middle 224×224,
    printed to 1e-6), and the first five of a pass by hand, in their order."""
    with (folder / "pred_square.tsv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST, weights=str(folder / "bvlc_googlenet.caffemodel"))
    net.blobs["data"].reshape(1, 3, 224, 224)
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array(googlenet.MEAN))
    paths = sorted((shared / "zoo/images/imagenet_samples").glob("*.JPEG"))[::12]
    assert len(paths) > 3
    for path in paths:
        picture = Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
        crop = np.asarray(picture)[16:240, 16:240] / np.float32(255)
        net.blobs["data"].data[...] = transformer.preprocess("data", crop)
        prob, row = net.forward()["prob"][0].copy(), rows[path.name]
        assert prob.argmax() == int(row["top1"])
        assert prob[int(row["label"])] == pytest.approx(float(row["p_label"]), abs=1e-5)
    x = torch.from_numpy(net.blobs["data"].data.copy())
    by_hand = googlenet.scores(x, googlenet.weights_of(folder / "bvlc_googlenet.caffemodel"))[0]
    assert prob.argsort()[:-6:-1].tolist() == by_hand.topk(5).indices.tolist()


def test_classifier_on_photos(shared: Path, folder: Path) -> None:
    """The mean over ten crops beside the middle alone."""
    classifier = caffe.Classifier(
        str(folder / "deploy.prototxt"),
        str(folder / "bvlc_googlenet.caffemodel"),
        image_dims=(256, 256),
        mean=MEAN,
        raw_scale=255,
        channel_swap=(2, 1, 0),
    )
    ((path, label),) = photos(shared, 1)
    image = caffe.io.load_image(str(path))
    many, one = classifier.predict([image]), classifier.predict([image], oversample=False)
    assert many.shape == one.shape == (1, 1000)
    assert label in many[0].argsort()[::-1][:5]
    assert label in one[0].argsort()[::-1][:5]
    assert many[0].sum() == pytest.approx(1, abs=1e-5)


def test_a_picture_climbs_the_gradient_of_a_layer(folder: Path) -> None:
    """As deep dreams do: the message with force_backward, a layer's data as its own diff, the picture in the blob."""
    model = caffe.io.caffe_pb2.NetParameter()
    text_format.Merge((folder / "deploy.prototxt").read_text(), model)
    model.force_backward = True
    weights = str(folder / "bvlc_googlenet.caffemodel")
    net = caffe.Classifier(str(model), weights, mean=np.float32([104.0, 116.0, 122.0]), channel_swap=(2, 1, 0))
    src, dst = net.blobs["data"], net.blobs["inception_4c/output"]
    src.reshape(1, 3, 64, 96)
    src.data[0] = np.random.default_rng(0).normal(size=(3, 64, 96)) * 10
    bias, found = net.transformer.mean["data"], []
    for _ in range(4):
        net.forward(end="inception_4c/output")
        found.append(float((dst.data**2).mean()))
        dst.diff[:] = dst.data
        net.backward(start="inception_4c/output")
        gradient = src.diff[0]
        src.data[:] += 1.5 / np.abs(gradient).mean() * gradient
        src.data[:] = np.clip(src.data, -bias, 255 - bias)
    assert dst.shape == (1, 512, 4, 6)
    assert found == sorted(found)
    assert found[-1] > 1.2 * found[0]


MEANS = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param { pool: AVE global_pooling: true } }"""
"""A net whose output is the mean of each channel."""


@pytest.fixture
def weights(tmp_path: Path) -> str:
    caffe.Net(written(tmp_path, MEANS), caffe.TEST).save(tmp_path / "none.caffemodel")
    return str(tmp_path / "none.caffemodel")


def halves() -> np.ndarray:
    """Left half 0.2, right half 0.6 in red; green 0.4; blue 0."""
    image = np.zeros((12, 16, 3), np.float32)
    image[:, :8, 0], image[:, 8:, 0], image[:, :, 1] = 0.2, 0.6, 0.4
    return image


def test_classifier_by_hand(tmp_path: Path, weights: str) -> None:
    options: dict[str, Any] = {"mean": np.array([1.0, 2.0, 3.0]), "raw_scale": 10, "input_scale": 2}
    classifier = caffe.Classifier(
        written(tmp_path, MEANS), weights, image_dims=(12, 16), channel_swap=(2, 1, 0), **options
    )
    middle = classifier.predict([halves()] * 3, oversample=False)
    assert middle.reshape(3, 3) == pytest.approx(np.tile([-2, 4, 2], (3, 1)), abs=1e-5)  # 2 (10 x - mean), BGR
    many = classifier.predict([halves()])
    assert many.ravel() == pytest.approx([-2, 4, 2], abs=1e-5)  # corners left and right, and the middle
    plain = caffe.Classifier(written(tmp_path, MEANS), weights)
    assert plain.image_dims.tolist() == [8, 8]


def test_detector_on_windows(tmp_path: Path, weights: str) -> None:
    Image.fromarray((halves() * 255).round().astype(np.uint8)).save(tmp_path / "halves.png")
    detector = caffe.Detector(written(tmp_path, MEANS), weights, raw_scale=10)
    windows = [np.array([0, 0, 12, 8]), np.array([0, 8, 12, 16]), np.array([2, 4, 10, 12])]
    found = detector.detect_windows([(tmp_path / "halves.png", windows)])
    assert [list(one["window"]) for one in found] == [list(window) for window in windows]
    assert {one["filename"] for one in found} == {tmp_path / "halves.png"}
    reds = [float(one["prediction"].ravel()[0]) for one in found]
    assert reds == pytest.approx([2, 6, 4], abs=0.01)
    assert detector.detect_windows([]) == []
    with pytest.raises(NetcError, match="MATLAB"):
        detector.detect_selective_search(["halves.png"])


def test_detector_shows_what_is_around_a_window(tmp_path: Path, weights: str) -> None:
    """A pad of 2 in an input of 8: twice the window, and the mean outside the picture."""
    detector = caffe.Detector(
        written(tmp_path, MEANS), weights, mean=np.array([50.0, 60.0, 70.0]), raw_scale=100, context_pad=2,
        channel_swap=(2, 1, 0),
    )  # fmt: skip
    image = np.ones((20, 20, 3), np.float32)
    inside = detector.crop(image, np.array([8, 8, 11, 11]))
    assert inside.shape == (8, 8, 3)
    assert (inside == 1).all()
    corner = detector.crop(image, np.array([0, 0, 3, 3]))  # 4 wide; 8 with what is around it, from -2 on
    assert (corner[:2] == [0.7, 0.6, 0.5]).all()
    assert (corner[:, :2] == [0.7, 0.6, 0.5]).all()
    assert (corner[2:, 2:] == 1).all()
