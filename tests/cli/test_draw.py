"""`netc draw`: what is in the pictures, that they are well formed whatever a name says, and that they come quickly."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from netc.cli._main import run
from tests.effort import at_most

SVG = "{http://www.w3.org/2000/svg}"

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 5 dim: 3 dim: 31 dim: 40 } shape { dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" include { phase: TRAIN } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 7 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
"""


@pytest.fixture
def draw(tmp_path, monkeypatch, capsys):
    """draw(text, *options): the drawing, from stdout."""
    monkeypatch.chdir(tmp_path)

    def drawn(text, *options):
        Path("net.prototxt").write_text(text)
        status = run(["draw", "net.prototxt", "-o", "-", *options])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out

    return drawn


def boxes(text):
    """The lines of text in each box, legend left out."""
    groups = [group for group in ET.fromstring(text).iter(f"{SVG}g") if group.find(f"{SVG}title") is not None]
    return [[line.text for line in group.findall(f"{SVG}text")] for group in groups]


# -- SVG ---------------------------------------------------------------------------------------------------------------


def test_a_box_holds_settings_layers_in_place_and_parameters(draw):
    conv = 4 * 3 * 9 + 4
    ip = 4 * 16 * 20 * 7 + 7
    assert boxes(draw(NET)) == [
        ["data", "Input 5×3×31×40 + 5"],
        ["conv", "Convolution k3 s2 p1, 4", "+ ReLU", "+ Dropout 0.5", f"{conv:,} parameters"],
        ["ip", "InnerProduct 7", f"{ip:,} parameters"],
        ["loss", "SoftmaxWithLoss"],
    ]


def test_phases_differ(draw):
    text = draw(NET, "--phase", "test")
    assert [lines[0] for lines in boxes(text)] == ["data", "conv", "ip", "loss", "acc"]
    assert "+ Dropout" not in text


def test_a_net_for_use_is_drawn_as_it_is_used(draw):
    """Without a loss, TEST is meant, even where some layers name a phase."""
    assert boxes(draw(NET.replace('"SoftmaxWithLoss"', '"Distance"')))[-1][0] == "acc"


def test_shapes_stand_at_the_wires(draw):
    root = ET.fromstring(draw(NET))
    shapes = [line.text for line in root.iter(f"{SVG}text") if line.get("class") == "d"]
    assert sorted(shapes) == sorted(["5×3×31×40", "5", "5×4×16×20", "5×7"])
    wires = [path.find(f"{SVG}title").text for path in root.iter(f"{SVG}path") if path.get("class") == "w"]
    assert "conv → ip: conv 5×4×16×20" in wires
    assert len(wires) == 4
    assert not any("split" in wire for wire in wires)


def test_boxes_and_labels_lie_within_the_sheet(draw):
    root = ET.fromstring(draw(NET))
    width, height = (float(root.get(name)) for name in ("width", "height"))
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("class") != "bg":
            assert 0 <= float(rect.get("x")) <= float(rect.get("x")) + float(rect.get("width")) <= width
            assert float(rect.get("y")) + float(rect.get("height")) <= height


def test_light_and_dark_and_nothing_from_outside(draw):
    text = draw(NET)
    assert "prefers-color-scheme:dark" in text
    assert not re.search(r"(href|src|@import|url\((?!#))", text.replace("http://www.w3.org/2000/svg", ""))
    assert "<script" not in text


def test_html_holds_the_same_drawing(draw):
    svg, page = draw(NET), draw(NET, "--format", "html")
    assert svg.strip() in page
    assert page.startswith("<!doctype html>")


HOSTILE = '</title><script>alert(1)</script>"]; x -->|&|\\u001b[31m \\\\" \' #35; `'


@pytest.mark.parametrize("form", ["svg", "html", "dot", "mermaid"])
def test_hostile_names_are_harmless(draw, form):
    name = HOSTILE.replace("\\", "\\\\").replace('"', '\\"').replace("\\\\u001b", "\\x1b")
    net = f'name: "{name}" layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ dim: 2 }} }} }}'
    net += f'layer {{ name: "b" type: "ReLU" bottom: "{name}" top: "y" }}'
    text = draw(net, "--format", form)
    assert "\x1b" not in text
    assert "<script" not in text or form == "dot"  # a string there, which Graphviz quotes when it draws
    if form == "svg":
        assert boxes(text)[0][0].startswith("</title><scri")
    if form == "mermaid":
        assert text.partition("flowchart")[2].count('"') == 4  # the quotes around the two boxes, and none within them
    if form == "dot":
        strings = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
        assert re.sub(r'"(?:[^"\\]|\\.)*"', "", text).count('"') == 0
        assert any("alert" in string for string in strings)


def test_a_long_name_is_cut_and_whole_in_its_tooltip(draw):
    name = "a" * 300
    text = draw(f'layer {{ name: "{name}" type: "Input" top: "x" input_param {{ shape {{ dim: 2 }} }} }}')
    assert len(boxes(text)[0][0]) < 60
    assert f"<title>{name} (Input)" in text


# -- other forms -------------------------------------------------------------------------------------------------------


def test_dot(draw):
    lines = draw(NET, "--format", "dot").splitlines()
    assert lines[0] == "digraph net {"
    assert lines[-1] == "}"
    assert '  n1 -> n2 [label="5×4×16×20"];' in lines
    assert any('label="conv\\nConvolution k3 s2 p1, 4\\n+ ReLU\\n+ Dropout 0.5' in line for line in lines)


def test_splits_of_the_file_are_wires(draw):
    """A .caffemodel's own net has them; a layer in place over a copy stands by itself, as the other reader sees none
    of it."""
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "split" type: "Split" bottom: "x" top: "a" top: "b" }
    layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
    layer { name: "t" type: "TanH" bottom: "a" top: "a" }
    layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" top: "e" }
    """
    drawn = draw(text, "--format", "dot")
    assert "Split" not in drawn
    assert 'label="r\\nReLU\\n+ TanH"' in drawn
    wires = [line.split(" [")[0].strip() for line in drawn.splitlines() if "->" in line]
    assert wires == ["n0 -> n1", "n1 -> n2", "n0 -> n2"]


def test_mermaid(draw):
    lines = draw(NET, "--format", "mermaid").splitlines()
    assert "flowchart TB" in lines
    assert "  n1 -->|5×4×16×20| n2" in lines
    assert '  n3["loss<br/>SoftmaxWithLoss"]:::loss' in lines
    assert "  classDef loss fill:#fbdcdc,stroke:#c64545,color:#1b1f24" in lines


@pytest.mark.parametrize(
    "name, begins",
    [("a.svg", "<svg"), ("a.html", "<!doctype"), ("a.dot", "digraph"), ("a.mmd", "---"), ("a", "<svg")],
)
def test_the_ending_tells_the_form(tmp_path, monkeypatch, name, begins):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    assert run(["draw", "net.prototxt", "-o", name]) == 0
    assert Path(name).read_text().startswith(begins)


@pytest.mark.parametrize("named, file", [("my net/../x", "my_net_.._x.svg"), ("", "net.svg"), ("…", "net.svg")])
def test_the_file_is_named_after_the_net(tmp_path, monkeypatch, capsys, named, file):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET.replace('name: "small"', f'name: "{named}"' if named else ""))
    assert run(["draw", "net.prototxt"]) == 0
    assert sorted(os.listdir()) == sorted(["net.prototxt", file])
    assert capsys.readouterr().out.startswith(file)


def test_a_place_that_cannot_be_written_to(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    assert run(["draw", "net.prototxt", "-o", "no/such/a.svg"]) == 73
    assert "error[O165]" in capsys.readouterr().err
    assert os.listdir() == ["net.prototxt"]


# -- nets whose shapes are not known -----------------------------------------------------------------------------------


def test_without_its_data_a_net_is_drawn_without_shapes(draw, capsys):
    source = (
        'layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "no_lmdb" batch_size: 5 } }'
    )
    text = draw(source + NET[NET.index('layer { name: "conv"') :])
    assert ["data", "Data batch 5, no_lmdb"] in boxes(text)
    assert [line for line in boxes(text) if "parameters" in line[-1]] == []


def test_an_unknown_type_is_drawn_too(draw):
    text = draw(NET.replace('"InnerProduct"', '"OfAFork"').replace("inner_product_param { num_output: 7 }", ""))
    assert ["ip", "OfAFork"] in boxes(text)


def test_what_is_wrong_is_still_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET.replace('bottom: "conv" top: "ip"', 'bottom: "cnov" top: "ip"'))
    assert run(["draw", "net.prototxt", "-o", "-"]) == 65
    captured = capsys.readouterr()
    assert "error[G402]" in captured.err
    assert captured.out == ""


# -- size --------------------------------------------------------------------------------------------------------------


def test_a_net_of_4000_layers_takes_seconds(draw):
    """About 20 units of work for 4,000 layers in a chain with a wire over 100 rows each."""
    layers = ['layer { name: "d" type: "Input" top: "b0" input_param { shape { dim: 2 dim: 3 } } }']
    layers += [
        f'layer {{ name: "l{i}" type: "Eltwise" bottom: "b{i}" bottom: "b{max(0, i - 100)}" top: "b{i + 1}" }}'
        for i in range(4000)
    ]
    with at_most(400):
        assert len(boxes(draw("\n".join(layers)))) == 4001
