"""GoogLeNet as BVLC trained it, on photos of ImageNet's validation set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import netc
from netc.cli import _main
from netc.runtime.evaluate.dense import dense
from netc.runtime.transfer import files

FOLDER = "zoo/caffemodel/bvlc_googlenet"
PHOTOS = "zoo/images/ilsvrc_val"
NAMES = "zoo/images/ilsvrc12/synset_words.txt"


@pytest.fixture
def googlenet(shared: Path) -> tuple[str, str]:
    paths = [shared / FOLDER / name for name in ("deploy.prototxt", "bvlc_googlenet.caffemodel")]
    if not all(path.exists() for path in paths) or not (shared / PHOTOS).is_dir():
        pytest.skip("the weights or the photos are not here")
    return str(paths[0]), str(paths[1])


@pytest.mark.slow
def test_the_dense_net_is_the_classifier(googlenet: tuple[str, str]) -> None:
    net = netc.load_net(googlenet[0], weights=googlenet[1])
    found = dense(net)
    x = torch.from_numpy(np.random.default_rng(0).normal(0, 60, (2, 3, 224, 224)).astype("f4"))
    with torch.no_grad():
        want = net(x, blobs=[found.blob])[found.blob]
    scores = found.map(x)
    assert torch.equal(scores[..., 0, 0], want)
    wide = found.map(x.repeat(1, 1, 2, 2)[:, :, :256, :341])
    assert (found.stride, tuple(wide.shape)) == ((32, 32), (2, 1000, 2, 4))


@pytest.mark.slow
def test_the_centre_of_250_photos(googlenet: tuple[str, str], shared: Path, capsys) -> None:
    """69.2 and 91.2 % on the 500 photos of which these are half (zoo/README.md): within the interval of 250."""
    given = ["test", googlenet[0], "--weights", googlenet[1], "--data", str(shared / PHOTOS), "--view", "centre"]
    assert _main.run([*given, "--labels", str(shared / NAMES), "--mean", "104,117,123", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 250
    assert found["interval"][0] < 1 - 0.692 < found["interval"][1]
    assert found["top5_interval"][0] < 1 - 0.912 < found["top5_interval"][1]


@pytest.mark.slow
def test_a_photo_is_named(googlenet: tuple[str, str], shared: Path, capsys) -> None:
    """By the weight file alone, which has its net; the mean has to be given."""
    cat = shared / "zoo/images/caffe_examples/examples/images/cat.jpg"
    given = ["classify", str(cat), "--weights", googlenet[1], "--labels", str(shared / NAMES), "--json"]
    assert _main.run([*given, "--mean", "104,117,123"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["images"]
    assert "cat" in answer["predictions"][0]["name"]
    assert _main.run(given) == 65
    assert json.loads(capsys.readouterr().out)["errors"][0]["code"] == "R731"


@pytest.mark.slow
def test_features_and_a_linear_machine_tell_ten_classes(
    googlenet: tuple[str, str], shared: Path, tmp_path: Path, capsys
) -> None:
    """20 photos of each of ten classes, half of them to train on. At the net's own size a map has one place, where
    features are what the classifier reads of the photo."""
    pytest.importorskip("sklearn")
    photos = shared / "zoo/images/imagenette/val"
    for folder in photos.iterdir():
        (tmp_path / "set" / folder.name).mkdir(parents=True)
        for photo in sorted(folder.iterdir())[:20]:
            (tmp_path / "set" / folder.name / photo.name).symlink_to(photo)
    given = ["features", googlenet[0], str(tmp_path / "set"), "--weights", googlenet[1], "--mean", "104,117,123"]
    out = str(tmp_path / "f.npz")
    assert _main.run([*given, "--scales", "224", "--no-flip", "--no-normalise", "-o", out]) == 0
    net = netc.load_net(googlenet[0], weights=googlenet[1])
    with Image.open(next(iter(sorted((tmp_path / "set").rglob("*.*"))))) as image:
        pixels = np.asarray(image.convert("RGB")).astype("f4")[:, :, ::-1] - np.array([104, 117, 123], "f4")
    data = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    want = net({"data": data}, blobs=["pool5/7x7_s1"])["pool5/7x7_s1"].flatten().numpy()
    np.testing.assert_allclose(files.read(out).values[0], want, rtol=1e-3, atol=1e-4)  # two decoders of JPEG
    capsys.readouterr()
    measured = ["svm", "folder", str(tmp_path / "set"), "--features", out, "--train-per-class", "10", "--json"]
    assert _main.run(measured) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dimensions"] == 1024
    assert found["figures"]["recall"]["mean"] > 0.85  # by chance 0.1
