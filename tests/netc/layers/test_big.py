"""Whole nets at full size, with the weights real Caffe ran them with: numpy draws them from seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import netc
from tests.netc.layers.goldens import distance

ROOT = Path(__file__).resolve().parents[3]
ALEXNET = "zoo/prototxt/BVLC__caffe__models__bvlc_alexnet__deploy.prototxt"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg11", "alexnet"])
def test_every_blob_of_a_full_net(name: str, shared: Path) -> None:
    about = json.loads((shared / "goldens" / "big" / f"{name}.json").read_text())
    numbers = np.load(shared / "goldens" / "big" / f"{name}.npz")
    net = netc.load_net(str(ROOT / "models/vgg_A/deploy.prototxt" if name == "vgg11" else shared / ALEXNET))
    with torch.no_grad():
        for k, param in enumerate(param for params in net.params.values() for param in params):
            shape = tuple(param.shape)
            scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.05
            param.copy_(torch.from_numpy(np.random.RandomState(1000 + k).standard_normal(shape) * scale))
        shape = about["blobs"]["data"]
        x = np.random.RandomState(0).standard_normal(shape) * about["input_scale"]
        blobs = net(data=torch.from_numpy(x).float(), blobs=list(about["blobs"]))
    for blob, value in blobs.items():
        rows = value.reshape(shape[0], -1)
        samples = rows[:, :: rows.shape[1] // 200]
        # every value is a sum of up to 25088 products, in another order than OpenBLAS's
        assert distance(samples, numbers[f"sample:{blob}"]) < 2e-5, blob
    assert distance(blobs["prob"], numbers["full:prob"]) < 2e-5
