"""Nets whose data are not here, and shapes that the caller tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import netc
from netc.errors import NetcError
from tests.runtime.data.made import raw, write_lmdb

LOSS = """
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 4
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
GONE = 'layer {{ name: "data" type: "Data" top: "data" top: "label" {} data_param {{ source: "gone" batch_size: 6 }} }}'
CROPPED = GONE.format("transform_param { crop_size: 5 }") + LOSS
BARE = GONE.format("") + LOSS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_its_data_a_net_takes_its_tops_in_the_call() -> None:
    net = netc.load_net(CROPPED)
    assert net.blob_shapes["data"] == (6, 3, 5, 5)
    x, label = torch.zeros(2, 3, 5, 5), torch.zeros(2)
    assert net(data=x, label=label)["loss"] > 0
    assert net(data=x, blobs=["fc"])["fc"].shape == (2, 4)
    for call in (lambda: net(), lambda: net(data=x)):
        with pytest.raises(NetcError, match='no database "gone"') as caught:
            call()
        assert caught.value.code == "F120"
        assert "or give " in str(caught.value.hint)
        assert "label in the call" in str(caught.value.hint)


def test_data_that_come_later_are_read() -> None:
    net = netc.load_net(CROPPED)
    write_lmdb("gone", {b"%d" % n: raw(np.full((3, 6, 6), n), n % 4) for n in range(8)})
    assert net(blobs=["data"])["data"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_data_go_before_settings() -> None:
    write_lmdb("gone", {b"a": raw(np.zeros((1, 6, 7)))})
    assert netc.load_net(CROPPED).blob_shapes["data"] == (6, 1, 5, 5)
    assert netc.load_net(BARE).blob_shapes["data"] == (6, 1, 6, 7)


def test_data_that_cannot_be_read_are_told_of_when_they_are_needed() -> None:
    write_lmdb("gone", {b"a": b"no Datum"})
    net = netc.load_net(CROPPED)
    assert net(data=torch.zeros(6, 3, 5, 5), blobs=["fc"])["fc"].shape == (6, 4)
    with pytest.raises(NetcError, match='record "a"') as caught:
        net()
    assert caught.value.code == "D520"
    with pytest.raises(NetcError, match='record "a"'):  # nothing else tells the shapes
        netc.load_net(BARE)


def test_shapes_stand_in_for_the_data() -> None:
    with pytest.raises(NetcError, match='no database "gone"') as caught:
        netc.load_net(BARE)
    assert 'shapes={"data": …}' in str(caught.value.hint)
    net = netc.load_net(BARE, shapes={"data": (1, 3, 7, 8)})
    assert (net.blob_shapes["data"], net.blob_shapes["label"]) == ((1, 3, 7, 8), (1,))
    assert net(data=torch.zeros(1, 3, 7, 8), blobs=["fc"])["fc"].shape == (1, 4)
    write_lmdb("gone", {b"a": raw(np.zeros((1, 6, 7)))})
    assert netc.load_net(BARE, shapes={"data": [2, 3, 7, 8]}).blob_shapes["data"] == (2, 3, 7, 8)  # they go first


def test_shapes_of_hdf5_data() -> None:
    text = 'layer { name: "h" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "l" batch_size: 9 } }'
    net = netc.load_net(text + LOSS, shapes={"data": (2, 5)})
    assert (net.blob_shapes["data"], net.blob_shapes["label"]) == ((2, 5), (2,))
    both = netc.load_net(text, shapes={"data": (2, 5), "label": (2, 1, 3)})
    assert both.blob_shapes["label"] == (2, 1, 3)


def test_shapes_of_a_source_that_netc_has_no_reader_for() -> None:
    text = 'layer { name: "a" type: "AnnotatedData" top: "data" top: "boxes" data_param { batch_size: 4 } }'
    with pytest.raises(NetcError, match="not known without looking at the data") as caught:
        netc.load_net(text)
    assert (caught.value.code, caught.value.line) == ("L304", 1)
    net = netc.load_net(text, shapes={"data": (1, 3, 30, 30)})
    assert (net.blob_shapes["data"], net.blob_shapes["boxes"]) == ((1, 3, 30, 30), (1, 1, 1, 8))
    with pytest.raises(NetcError, match="AnnotatedData|not given") as caught:
        net()
    assert caught.value.code == "R601"


@pytest.mark.parametrize(
    ("settings", "shapes", "expected"),
    [
        ("", {"data": (2, 5), "label": (2,)}, [(2, 5), (2,)]),
        ("shape { dim: 2 dim: 7 }", {"label": (2,)}, [(2, 7), (2,)]),
        ("shape { dim: 2 dim: 7 } shape { dim: 2 }", {"data": (2, 3, 4)}, [(2, 3, 4), (2,)]),
    ],
)
def test_shapes_of_inputs(settings: str, shapes: dict[str, tuple[int, ...]], expected: list[tuple[int, ...]]) -> None:
    text = f'layer {{ name: "i" type: "Input" top: "data" top: "label" input_param {{ {settings} }} }}'
    param = netc.read_net(text + LOSS)
    before = param.SerializeToString()
    net = netc.load_net(param, shapes=shapes)
    assert [net.blob_shapes[name] for name in ("data", "label")] == expected
    assert param.SerializeToString() == before
    assert [tuple(shape.dim) for shape in net.graph.param.layer[0].input_param.shape] == expected


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (CROPPED, "dta", 'did you mean "data"'),
        (CROPPED, "fc", "not the top of a source layer"),
        ('layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 } } }', "x", "its own shapes"),
    ],
)
def test_shapes_of_other_blobs(text: str, name: str, words: str) -> None:
    with pytest.raises(NetcError) as caught:
        netc.load_net(text, shapes={name: (1, 3, 7, 8)})
    assert caught.value.code == "C102"
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "shapes, words",
    [
        ((1, 3, 8, 8), "shapes is a tuple"),
        ({"data": "3,8,8"}, "not sizes"),
        ({"data": (6, 3, 0, 8)}, "not sizes"),
        ({"data": (3, 8, 8)}, "3 sizes, images have 4"),
    ],
)
def test_shapes_that_are_none(shapes: object, words: str) -> None:
    with pytest.raises(NetcError, match=words) as caught:
        netc.load_net(BARE, shapes=shapes)
    assert caught.value.code == "C102"
    assert "shapes={" in str(caught.value.hint)


def test_only_what_is_not_here_is_asked_for() -> None:
    """Two sources, one of them here: the hint names the tops of the other."""
    write_lmdb("here", {b"a": raw(np.zeros((3, 5, 5)))})
    here = 'layer { name: "h" type: "Data" top: "x" data_param { source: "here" batch_size: 6 } }'
    net = netc.load_net(here + CROPPED + 'layer { name: "s" type: "Silence" bottom: "x" }')
    with pytest.raises(NetcError) as caught:
        net(blobs=["x", "fc"])
    assert str(caught.value.hint).endswith("or give data in the call")
