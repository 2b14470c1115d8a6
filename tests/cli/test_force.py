"""No command replaces a file that it has not written, unless --force says so."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import netc
from netc import weights
from netc.cli._main import run

NET = """
name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
"""
OLD = 'name: "old"\nlayers { name: "r" type: RELU bottom: "x" top: "y" }\n'


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("old.prototxt").write_text(OLD)
    arrays = {"ip": [np.ones((2, 3), "f4"), np.zeros(2, "f4")]}
    weights.write_caffemodel("w.caffemodel", netc.read_net(NET), arrays)


COMMANDS = {
    "convert": (["convert-caffemodel", "w.caffemodel", "-o", "OUT.npz"], ["OUT.npz"]),
    "convert, named by the file": (["convert-caffemodel", "w.caffemodel"], ["w.safetensors"]),
    "its report": (["convert-caffemodel", "w.caffemodel", "-o", "x.npz", "--report", "OUT.json"], ["OUT.json"]),
    "optimise": (
        ["optimise", "net.prototxt", "--weights", "w.caffemodel", "-o", "OUT.prototxt"],
        ["OUT.prototxt", "OUT.caffemodel"],
    ),
    "emit": (["emit", "net.prototxt", "-o", "OUT.py"], ["OUT.py"]),
    "emit with weights": (["emit", "net.prototxt", "-o", "w.py", "--weights", "w.caffemodel"], ["w.safetensors"]),
    "draw": (["draw", "net.prototxt", "-o", "OUT.svg"], ["OUT.svg"]),
    "draw, named by the net": (["draw", "net.prototxt"], ["small.svg"]),
    "upgrade": (["upgrade", "old.prototxt", "-o", "OUT.prototxt"], ["OUT.prototxt"]),
    "upgrade onto itself": (["upgrade", "old.prototxt", "-o", "old.prototxt"], ["old.prototxt"]),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_file_that_is_there_stays(command, kind, capsys):
    arguments, files = COMMANDS[command]
    if kind == "dangling" and command == "upgrade onto itself":
        return
    for name in files:
        Path("target").write_bytes(b"mine")
        if kind == "file":
            if name != "old.prototxt":
                Path(name).write_bytes(b"mine")
        elif name != "old.prototxt":
            os.symlink("target" if kind == "link" else "nowhere", name)
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert run(arguments) == 73
    said = capsys.readouterr().err
    assert "O140" in said
    assert "--force" in said
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    assert not Path("nowhere").exists()
    assert run([*arguments, "--force"]) == 0
    if kind == "file":
        assert all(Path(name).read_bytes() not in (b"mine", OLD.encode()) for name in files)
    assert Path("target").read_bytes() == b"mine" or command.startswith("upgrade")


def test_the_card_of_a_converted_file_survives_emit(capsys):
    assert run(["convert-caffemodel", "w.caffemodel", "-o", "model.safetensors"]) == 0
    assert run(["emit", "net.prototxt", "-o", "model.py", "--weights", "w.caffemodel"]) == 73
    assert weights.read_card("model.safetensors").net == "small"
    assert not Path("model.py").exists()


@pytest.mark.parametrize("command", ["draw", "emit", "upgrade"])
def test_what_is_not_a_file_is_never_replaced(command, capsys):
    os.mkfifo("pipe")
    assert run([command, "net.prototxt", "-o", "pipe", "--force"]) == 73
    assert "O151" in capsys.readouterr().err
    assert Path("pipe").is_fifo()


def test_image_mean(capsys):
    from PIL import Image

    Path("pictures").mkdir()
    Image.new("RGB", (2, 2), (1, 2, 3)).save("pictures/a.png")
    Path("list").write_text("a.png 0\n")
    assert run(["convert-imageset", "pictures", "list", "db"]) == 0
    Path("mean.json").write_text("mine")
    assert run(["image-mean", "db", "mean.binaryproto", "mean.json"]) == 73
    assert (Path("mean.json").read_text(), Path("mean.binaryproto").exists()) == ("mine", False)
    assert run(["image-mean", "db", "mean.binaryproto", "mean.json", "--force"]) == 0
    assert run(["image-mean", "db", "mean.binaryproto"]) == 73


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_is_never_replaced(command, capsys):
    arguments, files = COMMANDS[command]
    if command == "upgrade onto itself":
        return
    for name in files:
        os.mkfifo(name)
    assert run([*arguments, "--force"]) == 73
    assert "is not a regular file" in capsys.readouterr().err
    assert all(Path(name).is_fifo() for name in files)
