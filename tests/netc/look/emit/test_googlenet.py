"""BVLC's GoogLeNet with its trained weights: emitted code, without netc, names the classes that netc names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import netc
from netc.cli._main import run
from tests.netc.look.emit.running import executed

MEAN = (104.0, 117.0, 123.0)


@pytest.fixture
def nets(shared: Path, tmp_path: Path) -> tuple[Any, Any]:
    """(the running net, the emitted module), with the trained weights."""
    folder = shared / "zoo/caffemodel/bvlc_googlenet"
    net, weights = folder / "deploy.prototxt", folder / "bvlc_googlenet.caffemodel"
    assert run(["emit", str(net), "-o", str(tmp_path / "googlenet.py"), "--weights", str(weights)]) == 0
    module = executed((tmp_path / "googlenet.py").read_text(), "GoogleNet")().eval()
    module.load_state_dict(load_file(tmp_path / "googlenet.safetensors"), strict=True)
    return netc.load_net(net, weights=weights), module


def image(path: Path) -> Tensor:
    """256×256, the middle 224×224, BGR minus the mean (zoo/README.md)."""
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR), np.float32)
    bgr = pixels[16:240, 16:240, ::-1] - np.array(MEAN, np.float32)
    return torch.from_numpy(bgr.transpose(2, 0, 1).copy())


def compare(nets: tuple[Any, Any], photos: list[Path]) -> None:
    running, module = nets
    for start in range(0, len(photos), 25):
        batch = torch.stack([image(path) for path in photos[start : start + 25]])
        with torch.no_grad():
            expected, found = running(batch)["prob"], module(batch)
        assert (found - expected).abs().max() < 1e-5
        assert torch.equal(found.topk(5).indices, expected.topk(5).indices)


def photos(shared: Path) -> list[Path]:
    folder = shared / "zoo/images/ilsvrc_val"
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def test_three_photos_get_the_same_five_classes(nets: tuple[Any, Any], shared: Path) -> None:
    compare(nets, photos(shared)[::100])


@pytest.mark.slow
def test_all_photos_get_the_same_five_classes(nets: tuple[Any, Any], shared: Path) -> None:
    found = photos(shared)
    assert len(found) == 250
    compare(nets, found)
