"""Large images by tiles, against the same net on the whole image; and what is said where memory does not suffice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import netc
from netc.errors import NetcError
from netc.passes.convolutional import convolutional
from netc.runtime.evaluate import memory
from netc.runtime.evaluate.dense import Dense, dense
from netc.runtime.evaluate.tiles import plan

HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 40 dim: 40 } } }'
TAIL = """
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }"""


def conv(name: str, bottom: str, top: str, channels: int, more: str) -> str:
    settings = f'num_output: {channels} {more} weight_filler {{ type: "xavier" }} bias_filler {{ type: "uniform" }}'
    return f"""
    layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}" convolution_param {{ {settings} }} }}
    layer {{ name: "{name}r" type: "ReLU" bottom: "{top}" top: "{top}" }}"""


def pool(name: str, bottom: str, top: str, settings: str) -> str:
    return f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{top}" pooling_param {{ {settings} }} }}'


VGG = (
    HEAD
    + conv("a", "data", "a", 4, "kernel_size: 3 pad: 1")
    + pool("p", "a", "p", "pool: MAX kernel_size: 2 stride: 2")
    + conv("b", "p", "b", 6, "kernel_size: 5 pad: 2 dilation: 2")
    + pool("q", "b", "x", "pool: AVE kernel_size: 3 stride: 2 pad: 1")
    + TAIL
)
INCEPTION = (
    HEAD
    + conv("a", "data", "a", 4, "kernel_size: 7 stride: 2 pad: 3")
    + 'layer { name: "n" type: "LRN" bottom: "a" top: "n" lrn_param { local_size: 3 alpha: 0.1 } }'
    + pool("p", "n", "p", "pool: MAX kernel_size: 3 stride: 3")
    + conv("b", "p", "b", 3, "kernel_size: 1")
    + conv("c", "p", "c", 3, "kernel_size: 5 pad: 2")
    + pool("d", "p", "d", "pool: MAX kernel_size: 3 stride: 1 pad: 1")
    + 'layer { name: "e" type: "Concat" bottom: "b" bottom: "c" bottom: "d" top: "e" }'
    + pool("q", "e", "x", "pool: AVE kernel_size: 4 stride: 1")
    + TAIL
)


def by_tiles(found: Dense, height: int, width: int, limit: int) -> int:
    """Make it take that size by tiles of at most `limit` bytes; their number."""
    found.plans[height, width] = planned = plan(found.form, found.blob, height, width, limit)
    assert planned.bytes <= limit
    return len(planned.tiles)


@pytest.mark.parametrize("text", [VGG, INCEPTION], ids=["vgg", "inception"])
@pytest.mark.parametrize("size", [(40, 151), (97, 83), (90, 80)])
def test_tiles_give_the_map_of_the_whole_image(text: str, size: tuple[int, int]) -> None:
    net = netc.load_net(text, seed=4)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, *size)).astype("f4"))
    found = dense(net)
    whole = found.map(x)
    assert not found.plan(*size).tiles
    needed = found.plan(*size).bytes
    for part in (0.9, 0.6, 0.4):
        floor = plan(found.form, found.blob, *size, 1).bytes  # one place a tile
        count = by_tiles(found, *size, max(floor, int(part * needed)))
        assert count > 1
        tiled = found.map(x)
        assert tiled.shape == whole.shape
        assert (tiled - whole).abs().max() <= 1e-6 * whole.abs().max()


def test_what_looks_at_the_whole_plane_has_no_tiles() -> None:
    layers = {
        "global pooling": pool("g", "a", "x", "pool: AVE global_pooling: true"),
        "MVN": 'layer { name: "m" type: "MVN" bottom: "a" top: "x" }',
        "LRN": 'layer { name: "m" type: "LRN" bottom: "a" top: "x" lrn_param { norm_region: WITHIN_CHANNEL } }',
        "batch statistics": """layer { name: "m" type: "BatchNorm" bottom: "a" top: "x"
            batch_norm_param { use_global_stats: false } }""",
        "unknown reach": """layer { name: "m" type: "Deconvolution" bottom: "a" top: "x"
            convolution_param { num_output: 4 kernel_size: 2 stride: 2 weight_filler { type: "xavier" } } }""",
    }
    for name, middle in layers.items():
        form = convolutional(
            netc.compile_net(HEAD + conv("a", "data", "a", 4, "kernel_size: 3") + middle + TAIL, "TEST")
        )
        assert not plan(form, "fc", 100, 100, 1).tiles, name
    form = convolutional(netc.compile_net(VGG, "TEST"))
    assert plan(form, "fc", 100, 100, 1).tiles


def test_vgg_is_bounded_at_any_size() -> None:
    """Without running: what its blobs need, worked out from their shapes."""
    form = convolutional(netc.compile_net("models/vgg_D/deploy.prototxt", "TEST"))
    for size, count in (((768, 1024), 0), ((768, 2000), 2), ((1024, 1366), 2), ((768, 20_000), 21)):
        planned = plan(form, "fc8", *size)
        assert (planned.bytes <= memory.LARGEST, len(planned.tiles)) == (True, count), size


def test_memory_that_does_not_suffice_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a net without tiles: before it begins."""
    text = HEAD + conv("a", "data", "a", 64, "kernel_size: 3") + pool("g", "a", "x", "pool: AVE global_pooling: true")
    net = netc.load_net(text + TAIL, seed=4)
    monkeypatch.setattr(memory, "_left", lambda: 1 << 28)
    picture = np.zeros((400, 2000, 3), np.uint8)
    with pytest.raises(NetcError, match="a picture of 768×3840 pixels needs 1.6 GB of memory, and 0.3 GB") as found:
        netc.posteriors(net, picture, 768, mean=0)
    assert found.value.code == "R750"
    assert netc.posteriors(net, picture, 64, mean=0).shape == (1, 5)


def test_what_is_left_is_what_linux_and_the_control_group_say(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2000 kB\n"}
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))
    assert memory._left() == 2_048_000
    files |= {"/sys/fs/cgroup/memory.max": "1000000\n", "/sys/fs/cgroup/memory.current": "400000\n"}
    assert memory._left() == 600_000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert memory._left() == 2_048_000
    files.clear()
    assert memory._left() is None
