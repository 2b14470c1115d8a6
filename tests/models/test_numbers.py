"""The shipped nets against the paper's Table 1 and 2 and the numbers that follow from them (shared paper.md 2.1)."""

from __future__ import annotations

from pathlib import Path

import pytest

import netc
from netc.check.analyse import FLOAT, analyse, memory
from tests.models.nets import NETS, TRANSPLANTED, base_of, starts_from_a

MIB = 2**20

PAPER = {
    #         parameters   convolutions  weights      GMAC    MiB   pool5 fc6
    "A": (132_863_336, 9_220_480, 132_851_392, 7.609, 34.8, 150, 342),
    "A_LRN": (132_863_336, 9_220_480, 132_851_392, 7.609, 47.0, 150, 342),
    "B": (133_047_848, 9_404_992, 133_035_712, 11.308, 53.2, 156, 348),
    "C": (133_638_952, 9_996_096, 133_625_536, 11.771, 58.1, 156, 348),
    "D": (138_357_544, 14_714_688, 138_344_128, 15.470, 58.1, 212, 404),
    "E": (143_667_240, 20_024_384, 143_652_544, 19.632, 63.1, 268, 460),
    "B_5x5": (134_503_528, 10_860_672, 134_492_864, 9.356, 29.8, 156, 348),
}
MILLIONS = {"A": 133, "A_LRN": 133, "B": 133, "C": 134, "D": 138, "E": 144}
"""Table 2."""


def net(name, file="deploy", phase="TEST"):
    return analyse(netc.compile_net(f"models/{name}/{file}.prototxt", phase=phase))


@pytest.mark.parametrize("letter", PAPER)
def test_sizes(letter):
    params, conv, weights, gmac, mib, _, _ = PAPER[letter]
    found = net(f"vgg_{letter}")
    assert (found.params, found.params_of("Convolution"), found.weights) == (params, conv, weights)
    assert found.params_of("InnerProduct") == 123_642_856
    assert round(found.macs / 1e9, 3) == gmac
    assert round(found.activations * FLOAT / MIB, 1) == mib


@pytest.mark.parametrize("letter", MILLIONS)
def test_table_2(letter):
    assert round(net(f"vgg_{letter}").params / 1e6) == MILLIONS[letter]


@pytest.mark.parametrize("letter", PAPER)
def test_receptive_fields(letter):
    found = net(f"vgg_{letter}")
    pool5, fc6 = found.row("pool5").field, found.row("fc6").field
    assert (pool5.size, pool5.stride) == ((PAPER[letter][5],) * 2, (32, 32))
    assert (fc6.size, fc6.stride) == ((PAPER[letter][6],) * 2, (32, 32))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_train_val_is_the_same_net(name, phase):
    deployed, found = net(name), net(name, "train_val", phase)
    assert (found.params, found.macs) == (deployed.params, deployed.macs)
    outputs = ("accuracy", "accuracy_top5", "loss") if phase == "TEST" else ("loss",)
    assert found.graph.outputs == outputs


@pytest.mark.parametrize("name", [name for name in NETS if starts_from_a(name)])
def test_transplanted_layers_have_net_a_shapes(name):
    own, base = net(name), net(base_of(name))
    for layer in TRANSPLANTED:
        shapes = [[ref.blob.shape for ref in found.row(layer).node.params] for found in (own, base)]
        assert shapes[0] == shapes[1]


def test_the_page_has_the_sizes():
    """models/README.md: parameters, those of convolutions, multiply-adds, receptive fields of pool5 and fc6."""
    page = (Path(__file__).resolve().parents[2] / "models/README.md").read_text()
    for name in NETS:
        found = net(name)
        sizes = [found.row(layer).field.size[0] for layer in ("pool5", "fc6")]
        numbers = [found.params, found.params_of("Convolution"), found.macs, *sizes]
        assert f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} |" in page


def test_training_memory():
    """Counted by hand for a net of one layer: 2 images of 3×4×5, 7 outputs."""
    text = """
      layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }
      layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 7 } }
    """
    found = analyse(netc.compile_net(text, phase="TRAIN"))
    used = memory(found, batch=10, histories=2)
    params = 7 * 60 + 7
    assert (found.params, found.weights, found.macs, found.activations) == (params, 420, 420, 67)
    assert (used.weights, used.gradients, used.history) == (4 * params, 4 * params, 8 * params)
    assert (used.activations, used.in_flight) == (4 * 10 * 67, 2 * 4 * 10 * 60)
    assert used.total == 4 * (4 * params + 670 + 1200)
