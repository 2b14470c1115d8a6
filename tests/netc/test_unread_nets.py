"""Nets out of weight files and cards: they write no file and open none that they name (docs/weights.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc import weights
from netc.cli._main import run
from netc.errors import NetcError
from netc.runtime.export.convert import Options, convert

WRITES = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
layer { name: "z" type: "Power" bottom: "x" top: "z" }
layer { name: "out" type: "HDF5Output" bottom: "y" bottom: "z" hdf5_output_param { file_name: "profile" } }
"""
READS = """
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "secret" batch_size: 2 }
  transform_param { mean_file: "mean.binaryproto" } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "y" inner_product_param { num_output: 2 } }
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trained(text, width=3):
    arrays = {"ip": [np.ones((2, width), "f4"), np.zeros(2, "f4")]}
    weights.write_caffemodel("m.caffemodel", netc.read_net(text), arrays)
    return "m.caffemodel"


@pytest.fixture
def database():
    """What is named is there, and would be read."""
    from PIL import Image

    Path("pictures").mkdir()
    for at in range(4):
        Image.new("RGB", (2, 1), (at, 0, 0)).save(f"pictures/{at}.png")
    Path("list").write_text("".join(f"{at}.png {at}\n" for at in range(4)))
    assert run(["convert-imageset", "pictures", "list", "secret"]) == 0


def test_no_command_writes_what_such_a_net_names() -> None:
    path = trained(WRITES)
    Path("profile").write_text("mine")
    for made in ("a.safetensors", "a.npz", "a.onnx", "a.pt2", "b.caffemodel"):
        convert(path, made, Options(run=True))
    convert("a.safetensors", "b.npz", Options(run=True))  # the card's net
    net = netc.load_net(path, weights=path)
    import torch

    assert set(net(x=torch.ones(2, 3))) == set()
    assert net(x=torch.ones(2, 3), blobs=["y"])["y"].tolist() == [[3, 3], [3, 3]]
    for command in ("check", "draw", "diff"):
        run([command, path, *([path] if command == "diff" else []), *(["-o", "-"] if command == "draw" else [])])
    assert Path("profile").read_text() == "mine"
    Path("profile").unlink()
    net(x=torch.ones(2, 3))
    assert not Path("profile").exists()


def test_check_says_that_it_will_not(capsys) -> None:
    run(["check", trained(WRITES)])
    assert "A882" in "".join(capsys.readouterr())


def test_a_v1_net_neither() -> None:
    text = """layers { name: "x" type: DUMMY_DATA top: "x" top: "z"
      dummy_data_param { num: 2 channels: 3 height: 1 width: 1 } }
    layers { name: "o" type: HDF5_OUTPUT bottom: "x" bottom: "z" hdf5_output_param { file_name: "profile" } }"""
    from netc import proto
    from netc.prototxt import Source, parse
    from netc.prototxt.bind import bind

    source = Source(text)
    Path("m.binary").write_bytes(bind(parse(source), proto.NetParameter, source).SerializeToString())
    netc.load_net("m.binary")()
    assert not Path("profile").exists()


def test_such_a_net_opens_no_data(database, capsys) -> None:
    path = trained(READS, 6)
    net = netc.load_net(path, weights=path, shapes={"data": (2, 3, 1, 2)})
    with pytest.raises(NetcError) as caught:
        net()
    assert caught.value.code == "F130"
    with pytest.raises(NetcError) as caught:
        convert(path, "a.pt2")
    assert caught.value.code == "W763"
    assert run(["check", path]) == 66
    said = "".join(capsys.readouterr())
    assert "F130" in said
    assert "--trust-net" in said
    assert run(["emit", path]) == 66


def test_consent(database) -> None:
    text = READS.replace('transform_param { mean_file: "mean.binaryproto" }', "")
    path = trained(text, 6)
    assert run(["check", path]) == 66
    assert run(["check", path, "--trust-net"]) == 0
    assert run(["check", path]) == 66
    net = netc.load_net(path, weights=path, trust_net=True)
    assert net()["y"].shape == (2, 2)


def test_a_mean_image_is_named_and_not_read() -> None:
    weights.write_blob("mean.binaryproto", np.ones((1, 3, 1, 2), "f4"))
    path = trained(READS, 6)
    made = convert(path, "a.safetensors")
    assert (made.card.preprocessing.mean, made.card.preprocessing.mean_file) == (None, "mean.binaryproto")
    Path("net.prototxt").write_text(READS)
    made = convert(path, "b.safetensors", Options(net="net.prototxt"))
    assert made.card.preprocessing.mean == [1, 1, 1]


def test_a_text_may(database) -> None:
    Path("net.prototxt").write_text(READS.replace('transform_param { mean_file: "mean.binaryproto" }', ""))
    assert netc.load_net("net.prototxt")()["y"].shape == (2, 2)
    Path("w.prototxt").write_text(WRITES)
    import torch

    netc.load_net("w.prototxt")(x=torch.ones(2, 3))
    assert Path("profile").exists()


@pytest.mark.parametrize("name", ["/nowhere/profile", "mine"])
def test_a_place_that_is_not_written_is_no_obstacle(name) -> None:
    """Where HDF5Output does not run, it does not matter what it names."""
    Path("mine").write_text("mine")
    dummy = 'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }'
    text = WRITES.replace(WRITES.splitlines()[1], dummy).replace('"profile"', f'"{name}"')
    assert run(["test", trained(text), "--iterations", "1"]) == 0
    assert Path("mine").read_text() == "mine"
