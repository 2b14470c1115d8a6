"""The synthetic VGG caffemodels: the published files' size to the byte, and weights that the shipped nets take."""

from __future__ import annotations

import math

import numpy as np
import pytest

import netc
from netc import proto, weights
from tools import make_vgg

PUBLISHED = {16: 553_432_081, 19: 574_671_192}
"""Sizes of VGG_ILSVRC_16_layers.caffemodel and VGG_ILSVRC_19_layers.caffemodel, as logs of programs that read them
say."""


def sizes(depth, least=0):
    """(bytes of the file without its values, number of values)."""
    shapes = [shape for node in make_vgg.layers(depth, least) for shape in make_vgg.shapes_of(node)]
    counted = sum(map(math.prod, shapes))
    return sum(map(len, make_vgg.chunks(depth, least))), counted


@pytest.fixture
def no_values(monkeypatch):
    monkeypatch.setattr(make_vgg, "_values", lambda shape, seed: iter(()))


@pytest.mark.parametrize("depth", PUBLISHED)
def test_the_size_is_the_published_one(no_values, depth):
    rest, values = sizes(depth)
    assert values == {16: 138_357_544, 19: 143_667_240}[depth]  # table 2 of the paper: 138 and 144 million
    assert rest + 4 * values == PUBLISHED[depth]


def test_a_size_of_ones_own(no_values):
    rest, values = sizes(19, 2_300_000_000)
    assert 2_300_000_000 <= rest + 4 * values < 2_300_300_000


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(make_vgg, "NETS", {16: "mini_vgg_D"})


def test_the_file_is_a_v1_net_that_protobuf_reads(small):
    data = b"".join(bytes(chunk) for chunk in make_vgg.chunks(16))
    net = proto.NetParameter.FromString(data)
    assert net.SerializeToString() == data  # fields in the order of their numbers, as Caffe writes them
    assert [layer.name for layer in net.layers][:6] == ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1"]
    fc6 = next(layer for layer in net.layers if layer.name == "fc6")
    blob = fc6.blobs[0]
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 1, 1024, 512)
    assert len(blob.data) == 1024 * 512
    assert np.std(blob.data) == pytest.approx(math.sqrt(2 / 512), rel=0.005)  # 0.1 % is one standard error
    assert weights.read_layers(data).version == "V1"
    again = b"".join(bytes(chunk) for chunk in make_vgg.chunks(16))
    other = b"".join(bytes(chunk) for chunk in make_vgg.chunks(16, seed=2))
    assert again == data != other


@pytest.mark.slow
def test_the_full_files_load_into_the_papers_nets(tmp_path):
    """And activations stay sane: scores of a random image are neither zero nor huge."""
    import torch

    for depth, name in ((16, "vgg_D"), (19, "vgg_E")):
        path = tmp_path / f"{depth}.caffemodel"
        with path.open("wb") as file:
            for chunk in make_vgg.chunks(depth):
                file.write(chunk)
        assert path.stat().st_size == PUBLISHED[depth]
        net = netc.load_net(f"models/{name}/deploy.prototxt")
        plan = net.copy_from(path)
        assert (len(plan.copied), plan.fresh, plan.unused) == (depth, {}, {})
        with torch.no_grad():
            image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 60
            scores = net(image, blobs=["fc8"])["fc8"]
        assert 1 < scores.std() < 1000
        path.unlink()


@pytest.mark.slow
def test_a_file_beyond_2_gib(tmp_path):
    path = tmp_path / "huge.caffemodel"
    with path.open("wb") as file:
        for chunk in make_vgg.chunks(19, 2_300_000_000):
            file.write(chunk)
    found = weights.read(path)
    rng = np.random.default_rng(make_vgg.seed_of("fc8", 1, 1))
    assert np.array_equal(found["fc8"][1].ravel(), rng.standard_normal(1000, "f4") * np.float32(0.01))
    assert path.stat().st_size > 1 << 31
    path.unlink()
