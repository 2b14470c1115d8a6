"""The shipped nets against the paper's Table 1 and 2 and the numbers that follow from them (shared paper.md 2.1)."""

from __future__ import annotations

from pathlib import Path

import pytest

import netc
from netc.check.analyse import FLOAT, analyse, memory
from tools.models.table import CONFIGS, DEPTHS

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


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_layers_follow_table_1(config):
    found = net(config.name)
    convs = [row.node for row in found.rows if row.node.type == "Convolution"]
    assert len(convs) == sum(DEPTHS[config.letter])
    widths = {node.name: node.top_shapes[0][1] for node in convs}
    for stage, width in enumerate((64, 128, 256, 512, 512), 1):
        assert widths[f"conv{stage}_1"] == width // config.divisor
    names = [row.node.name for row in found.rows]
    assert names[-8:] == ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8", "prob"]
    assert ("norm1" in names) == (config.letter == "A_LRN")


def test_net_c_has_its_ones():
    kernels = {row.node.name: row.node.params[0].blob.shape[2:] for row in net("vgg_C").rows if row.node.params}
    ones = [name for name, kernel in kernels.items() if kernel == (1, 1)]
    assert ones == ["conv3_3", "conv4_3", "conv5_3"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_train_val_is_the_same_net(config, phase):
    deployed, found = net(config.name), net(config.name, "train_val", phase)
    assert (found.params, found.macs) == (deployed.params, deployed.macs)
    outputs = ("accuracy", "accuracy_top5", "loss") if phase == "TEST" else ("loss",)
    assert found.graph.outputs == outputs


def test_mini_nets_are_a_quarter_as_wide():
    for letter in "ABCDE":
        full, mini = net(f"vgg_{letter}"), net(f"mini_vgg_{letter}")
        for row in full.rows:
            small = mini.row(row.node.name).node
            if row.node.type == "Convolution" and row.node.name != "conv1_1":
                assert [4 * n for n in small.params[0].blob.shape[:2]] == list(row.node.params[0].blob.shape[:2])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_recipe(config):
    solver = netc.read_solver(f"models/{config.name}/solver.prototxt")
    assert (solver.type, solver.lr_policy, solver.plateau_param.max_drops) == ("SGD", "plateau", 3)
    recipe = [solver.base_lr, solver.gamma, solver.momentum, solver.weight_decay]
    assert recipe == pytest.approx([0.01, 0.1, 0.9, 5e-4])
    graph = netc.compile_net(f"models/{config.name}/train_val.prototxt", phase="TRAIN")
    data = graph.node("data").layer.param
    if not config.mini:
        assert (solver.max_iter, data.data_param.batch_size) == (370_000, 256)
    assert data.transform_param.mirror
    assert data.data_param.sampling_param.shuffle
    decays = {(ref.lr_mult, ref.decay_mult, len(ref.blob.shape) > 1) for _, _, ref in graph.own_params()}
    assert decays == {(1.0, 1.0, True), (1.0, 0.0, False)}
    drops = [node.layer.options.dropout_ratio for node in graph.nodes if node.type == "Dropout"]
    assert drops == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("config", [c for c in CONFIGS if c.from_a], ids=lambda c: c.name)
def test_transplanted_layers_have_net_a_shapes(config):
    """The layers of the paper's sentence: all convolutions of A's first three stages, and no other way to read it."""
    plan = netc.read_solver(f"models/{config.name}/solver.prototxt").transplant_param
    layers = [copy.layer for copy in plan[0].copy]
    assert layers == ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]
    own, base = net(config.name), net(config.base)
    for layer in layers:
        shapes = [[ref.blob.shape for ref in found.row(layer).node.params] for found in (own, base)]
        assert shapes[0] == shapes[1]


def test_the_page_has_the_sizes():
    """models/README.md: parameters, those of convolutions, multiply-adds, receptive fields of pool5 and fc6."""
    page = (Path(__file__).resolve().parents[2] / "models/README.md").read_text()
    for config in CONFIGS:
        found = net(config.name)
        sizes = [found.row(name).field.size[0] for name in ("pool5", "fc6")]
        numbers = [found.params, found.params_of("Convolution"), found.macs, *sizes]
        assert f"| {config.name} | {' | '.join(f'{number:,}' for number in numbers)} |" in page


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
