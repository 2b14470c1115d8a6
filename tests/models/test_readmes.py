"""The figures in the READMEs of the shipped nets are those of their files, and the same words cite the paper."""

from __future__ import annotations

import re
from itertools import groupby

import pytest

import netc
from netc.check.analyse import analyse
from tests.models.nets import FOLDER, NETS, base_of, starts_from_a


def page(name):
    return (FOLDER / name / "README.md").read_text(encoding="utf-8")


def tables(name):
    """The two tables of the page, each a list of rows without its head."""
    lines = [line for line in page(name).splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    second = rows.index(["what", "here", "the paper"])
    return rows[2:second], rows[second + 2 :]


def layers(name, file="train_val"):
    return {layer.name: layer for layer in netc.read_net(f"models/{name}/{file}.prototxt").layer}


@pytest.mark.parametrize("name", NETS)
def test_layers(name):
    nodes = layers(name, "deploy")
    rows = []
    convolutions = [layer for layer in nodes.values() if layer.type == "Convolution"]
    for stage, group in groupby(convolutions, lambda layer: layer.name[4]):
        convs = list(group)
        names = convs[0].name if len(convs) == 1 else f"{convs[0].name} … {convs[-1].name}"
        kernels = " ".join("{0}×{0}".format(*layer.convolution_param.kernel_size) for layer in convs)
        extra = ", norm1" if stage == "1" and "norm1" in nodes else ""
        rows.append([names + extra, kernels, str(convs[0].convolution_param.num_output)])
    hidden, classes = (nodes[fc].inner_product_param.num_output for fc in ("fc6", "fc8"))
    rows.append(["fc6, fc7", "fully connected, dropout", str(hidden)])
    rows.append(["fc8", "fully connected", str(classes)])
    assert tables(name)[0] == rows


@pytest.mark.parametrize("name", NETS)
def test_sizes(name):
    found = analyse(netc.compile_net(f"models/{name}/deploy.prototxt", phase="TEST"))
    side = found.graph.shapes["data"][2]
    pool5, fc6 = found.row("pool5").field.size[0], found.row("fc6").field.size[0]
    sizes = (
        f"{found.params:,} parameters, {found.params_of('Convolution'):,} of them in convolutions; {found.macs:,} "
        f"multiply-adds for an image of {side}×{side}. The receptive field of pool5 is {pool5}×{pool5} pixels, that of "
        f"fc6 {fc6}×{fc6}."
    )
    assert sizes in page(name)


def here(name):
    """The column "here" of the second table, out of the net and the solver."""
    nodes, solver = layers(name), netc.read_solver(f"models/{name}/solver.prototxt")
    train, val = list(netc.read_net(f"models/{name}/train_val.prototxt").layer)[:2]
    transform, crop = train.transform_param, train.transform_param.crop_size
    s, q = transform.rescale_param, val.transform_param.rescale_param.short_side
    conv, pool = nodes["conv1_1"].convolution_param, nodes["pool1"].pooling_param
    kernel, one = conv.kernel_size[0], any(list(n.convolution_param.kernel_size) == [1] for n in nodes.values())
    weight, bias = conv.weight_filler, conv.bias_filler
    found = {
        "input": f"{crop}×{crop}, BGR",
        "`mean_value`": ", ".join(f"{value:g}" for value in transform.mean_value),
        "convolutions": f"{kernel}×{kernel}, stride 1, pad {conv.pad[0]}" + ("; 1×1 without pad" if one else ""),
        "ReLU": "after every hidden layer",
        "pooling": f"MAX {pool.kernel_size}×{pool.kernel_size}, stride {pool.stride}",
        "fc6, fc7": f"{nodes['fc6'].inner_product_param.num_output}",
        "fc8": f"{nodes['fc8'].inner_product_param.num_output}",
        "dropout": f"{nodes['drop6'].dropout_param.dropout_ratio:g} after fc6 and fc7",
        "crop": f"{crop}, random position",
        "`mirror`": "in training",
        "`color_shift_param`": f"std {transform.color_shift_param.std:g}",
        "S": f"{s.short_side}" if s.short_side else f"{s.min_short_side} to {s.max_short_side}",
        "Q": f"{q}, centre crop" if s.short_side else f"{q}",
        "order": "a new random order each epoch",
        "batch": f"{train.data_param.batch_size}",
        "`momentum`": f"{solver.momentum:g}",
        "`weight_decay`": "5e-4, not on biases" if solver.weight_decay == pytest.approx(5e-4) else "",
        "`base_lr`": f"{solver.base_lr:g}",
        "`lr_policy`": f"{solver.lr_policy}, gamma {solver.gamma:g}, {solver.plateau_param.max_drops} drops",
        "`patience`": f"{solver.plateau_param.patience} tests",
        "`max_iter`": f"{solver.max_iter}",
        "`test_interval`": f"{solver.test_interval}",
        "`weight_filler`": "xavier, AVERAGE" if weight.type == "xavier" else f"{weight.type}, std {weight.std:g}",
        "`bias_filler`": f"{bias.value:g}",
    }
    if "norm1" in nodes:
        lrn = nodes["norm1"].lrn_param
        alpha = "5e-4" if lrn.alpha == pytest.approx(5e-4) else ""
        found["`lrn_param`"] = f"local_size {lrn.local_size}, alpha {alpha}, beta {lrn.beta:g}, k {lrn.k:g}"
    for plan in solver.transplant_param:
        found["`transplant_param`"] = ", ".join(copy.layer for copy in plan.copy)
    return found


@pytest.mark.parametrize("name", NETS)
def test_numbers(name):
    wanted = here(name)
    if name.startswith("mini"):
        wanted.pop("`test_interval`")  # nothing in the paper to set beside it
    assert {what: value for what, value, _ in tables(name)[1]} == wanted


@pytest.mark.parametrize("name", NETS)
def test_the_paper_is_cited_in_the_words_of_net_a(name):
    """But for the rows that speak of this net alone."""
    base = {what: words for what, _, words in tables(base_of(name))[1]}
    own = {what: words for what, _, words in tables(name)[1]}
    different = {what for what in own if own[what] != base.get(what)}
    alone = {"vgg_A_LRN": {"`lrn_param`"}, "vgg_B_5x5": {"convolutions"}}
    assert different == alone.get(name, {"`transplant_param`"} if starts_from_a(name) else set())
    assert not starts_from_a(name) or f" {base_of(name)};" in own["`transplant_param`"]


def test_quotations_are_the_papers(shared):
    def plain(text):  # letters alone: minus signs and exponents are lost in the text of a PDF
        return re.sub(r"[^a-z]", "", text.lower())

    paper = plain((shared / "paper.txt").read_text(encoding="utf-8"))
    quoted = {part for name in NETS for row in tables(name)[1] for part in re.findall("“(.*?)”", row[2])}
    assert len(quoted) > 20
    assert [part for text in quoted for part in text.split("…") if plain(part) not in paper] == []


@pytest.mark.parametrize("name", NETS)
def test_use(name):
    use = page(name).partition("## Use\n")[2]
    sources = [layer.data_param.source for layer in netc.read_net(f"models/{name}/train_val.prototxt").layer[:2]]
    assert "The databases `{}` and `{}`".format(*sources) in use
    assert f"netc check {name}\nnetc train {name}\nnetc test --model {name} --weights {name}_iter_" in use
    assert (f"Train {base_of(name)} first" in use) == starts_from_a(name)
    text = (FOLDER / name / "train_val.prototxt").read_text(encoding="utf-8")
    for replaced in re.findall("sed 's/(.*?)/", use):
        assert text.count(replaced) == text.count("weight_filler")
