"""GoogLeNet as BVLC trained it, on photos of ImageNet's validation set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import netc
from netc.cli import _main
from netc.runtime.evaluate.dense import dense

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
    (scores,) = found.maps(x)
    assert torch.equal(scores[..., 0, 0], want)
    (wide,) = found.maps(x.repeat(1, 1, 2, 2)[:, :, :256, :341])
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
