"""The figures of models/README.md are those of the files, and what it puts in quotation marks is the paper's."""

from __future__ import annotations

import re

import pytest

import netc
from tests.models.nets import DEPTHS, FOLDER, TRANSPLANTED

PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line[1:-1].split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
NUMBERS = {row[0].replace("`", ""): row[1:] for row in ROWS if len(row) == 4}
"""Row of the table "Where the numbers come from" → full nets, small nets, the paper."""


def figures(cell):
    """The numbers in a cell; those of file names and layers are none."""
    return [float(number) for number in re.findall(r"(?<![\w.])\d[\d.]*(?:e-\d+)?(?![\w.])", cell.replace("×", " × "))]


def layers(name):
    return {layer.name: layer for layer in netc.read_net(f"models/{name}/train_val.prototxt").layer}


@pytest.mark.parametrize("letter", DEPTHS)
def test_convolutions_a_stage(letter):
    (row,) = [row for row in ROWS if row[0] == f"vgg_{letter}" and len(row) == 3]
    assert row[1] == " ".join(map(str, DEPTHS[letter]))


@pytest.mark.parametrize("column, name", [(0, "vgg_A"), (1, "mini_vgg_A")])
def test_numbers(column, name):
    net, solver = layers(name), netc.read_solver(f"models/{name}/solver.prototxt")
    train, val = list(netc.read_net(f"models/{name}/train_val.prototxt").layer)[:2]
    transform, crop = train.transform_param, train.transform_param.crop_size
    rescale, pool = transform.rescale_param, net["pool1"].pooling_param
    conv, plateau = net["conv1_1"].convolution_param, solver.plateau_param
    s = [rescale.short_side] if rescale.short_side else [rescale.min_short_side, rescale.max_short_side, crop]
    found = {
        "input": [crop, crop],
        "mean_value": list(transform.mean_value),
        "convolutions": [*conv.kernel_size, *conv.kernel_size, 1, *conv.pad],
        "pooling": [pool.kernel_size, pool.kernel_size, pool.stride],
        "fc6, fc7": [net["fc6"].inner_product_param.num_output],
        "fc8": [net["fc8"].inner_product_param.num_output],
        "dropout": [net["drop6"].dropout_param.dropout_ratio],
        "crop": [crop],
        "color_shift_param": [transform.color_shift_param.std],
        "S": s,
        "batch": [train.data_param.batch_size],
        "momentum": [solver.momentum],
        "weight_decay": [solver.weight_decay],
        "base_lr": [solver.base_lr],
        "lr_policy": [solver.gamma, plateau.max_drops],
        "patience": [plateau.patience],
        "max_iter": [solver.max_iter],
        "test_interval": [solver.test_interval],
        "bias_filler": [conv.bias_filler.value],
    }
    for what, values in found.items():
        full, small, _ = NUMBERS[what]
        shown = full if column == 0 or small == "the same" else small
        assert figures(shown) == pytest.approx(values), what
    assert figures(NUMBERS["Q"][column])[0] == val.transform_param.rescale_param.short_side


def test_numbers_of_some_nets():
    lrn = layers("vgg_A_LRN")["norm1"].lrn_param
    (row,) = [row for what, row in NUMBERS.items() if what.startswith("lrn_param")]
    assert figures(row[0]) == pytest.approx([lrn.local_size, lrn.alpha, lrn.beta, lrn.k])
    conv = layers("vgg_B_5x5")["conv1_1"].convolution_param
    assert figures(NUMBERS["in vgg_B_5x5"][0]) == [*conv.kernel_size, *conv.kernel_size, 1, *conv.pad]
    (row,) = [row for what, row in NUMBERS.items() if what.startswith("transplant_param")]
    assert row[0] == ", ".join(TRANSPLANTED)
    assert NUMBERS["weight_filler"][0] == "gaussian, std 0.01"


def test_quotations_are_the_papers(shared):
    def plain(text):  # letters alone: minus signs and exponents are lost in the text of a PDF
        return re.sub(r"[^a-z]", "", text.lower())

    paper = plain((shared / "paper.txt").read_text(encoding="utf-8"))
    quoted = {part for row in NUMBERS.values() for part in re.findall("“(.*?)”", row[2])}
    assert len(quoted) > 20
    assert [part for text in quoted for part in text.split("…") if plain(part) not in paper] == []
