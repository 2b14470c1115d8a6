"""caffe.draw: files of every kind, of messages as text_format reads them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from PIL import Image

import netc.pycaffe as caffe
from netc.errors import NetcError
from netc.pycaffe.proto import caffe_pb2
from tests.runtime.pycaffe.nets import DEPLOY

MODELS = sorted((Path(__file__).parents[3] / "models").glob("*/*.prototxt"))


def message(text: str = DEPLOY) -> Any:
    return text_format.Merge(text, caffe_pb2.NetParameter())


@pytest.mark.parametrize(
    "path", [p for p in MODELS if p.stem in ("deploy", "train_val")], ids=lambda p: f"{p.parent.name}/{p.name}"
)
def test_the_models_are_drawn(path: Path) -> None:
    net = message(path.read_text())
    picture = Image.open(io.BytesIO(caffe.draw.draw_net(net, "LR")))
    assert picture.format == "PNG"
    assert min(picture.size) > 100
    assert len(picture.getcolors(1 << 20)) > 20


def test_files_of_each_kind(tmp_path: Path) -> None:
    starts = {"png": b"\x89PNG", "jpg": b"\xff\xd8", "svg": b"<svg", "dot": b"digraph", "html": b"<!doctype"}
    starts |= {"pdf": b"%PDF", "gif": b"GIF8", "tiff": b"II", "jpeg": b"\xff\xd8"}
    for ending, start in starts.items():
        caffe.draw.draw_net_to_file(message(), tmp_path / f"net.{ending}", "TB")
        assert (tmp_path / f"net.{ending}").read_bytes().startswith(start)
    assert b"rankdir=TB" in (tmp_path / "net.dot").read_bytes()
    with pytest.raises(NetcError, match="netc draws no"):
        caffe.draw.draw_net_to_file(message(), tmp_path / "net.xyz")
    with pytest.raises(NetcError, match="no ending"):
        caffe.draw.draw_net_to_file(message(), tmp_path / "net")
    with pytest.raises(NetcError, match="rankdir"):
        caffe.draw.draw_net(message(), "XY")


def test_names_of_pydots_graph(tmp_path: Path) -> None:
    graph = caffe.draw.get_pydot_graph(message(), "TB")
    assert graph.create_png() == graph.create(format="png")
    assert graph.write_svg(tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_bytes() == graph.create_svg()
    assert not hasattr(graph, "create_xyz")
    assert not hasattr(graph, "add_node")


def test_a_phase_leaves_the_other_out() -> None:
    text = DEPLOY + 'layer { name: "d" type: "Dropout" bottom: "fc" top: "d" include { phase: TRAIN } }'
    every, test = (caffe.draw.get_pydot_graph(message(text), "LR", phase=phase) for phase in (None, caffe.TEST))
    assert "Dropout" in every.to_string()
    assert "Dropout" not in test.to_string()


def test_words_about_a_layer() -> None:
    layer = message().layer[1]
    layer.param.add(lr_mult=2)
    assert caffe.draw.get_layer_label(layer).startswith("conv\n(Convolution)\nk3")
    assert caffe.draw.get_edge_label(layer).startswith("k3")
    assert caffe.draw.get_layer_lr_mult(layer) == [2]
    assert caffe.draw.choose_color_by_layertype("Convolution").startswith("#")


def test_a_net_that_caffe_would_not_build_is_drawn_as_it_stands() -> None:
    net = message('input: "a" input: "b" input_shape { dim: 1 } layer { name: "x" type: "Never" bottom: "a" top: "x" }')
    assert "Never" in caffe.draw.get_pydot_graph(net, "LR").to_string()
