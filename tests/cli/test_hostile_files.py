"""Wherever a file is named, a pipe, a device without end, a folder or a link to them is refused at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import netc
from netc.cli._main import run
from netc.errors import NetcError
from netc.weights import write_npz
from tools.fuzzing.guard import limits

NET = """
layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 4 } }
"""
LOSS = """
layer { name: "labels" type: "Input" top: "l" input_param { shape { dim: 2 } } }
layer { name: "loss" type: "InfogainLoss" bottom: "y" bottom: "l" top: "loss" infogain_loss_param { source: "odd" } }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 '


KINDS = {
    "pipe": lambda path: os.mkfifo(path),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "link to a pipe": lambda path: (os.mkfifo(path.with_name("pipe")), path.symlink_to("pipe")),
    "a sparse terabyte": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}

DATA = {
    "images": 'type: "ImageData" image_data_param { source: "odd" batch_size: 2 }',
    "windows": 'type: "WindowData" window_data_param { source: "odd" batch_size: 2 } transform_param { crop_size: 4 }',
    "rows": 'type: "HDF5Data" hdf5_data_param { source: "odd" batch_size: 2 }',
    "records": 'type: "Data" data_param { source: "odd" batch_size: 2 }',
    "mean": 'type: "ImageData" image_data_param { source: "list" batch_size: 2 } transform_param { mean_file: "odd" }',
    "colours": """type: "ImageData" image_data_param { source: "list" batch_size: 2 }
        transform_param { color_shift_param { file: "odd" std: 0.1 } }""",
}
"""Data layers that name it."""

SLOW, OTHERS = pytest.mark.slow, {"pipe", "folder", "endless device"}

COMMANDS = {
    "check": ["check", "odd"],
    "draw": ["draw", "odd", "-o", "x.svg"],
    "diff": ["diff", "net.prototxt", "odd"],
    "fmt": ["fmt", "odd"],
    "upgrade": ["upgrade", "odd"],
    "emit": ["emit", "odd", "-o", "x.py"],
    "emit weights": ["emit", "net.prototxt", "--weights", "odd", "-o", "x.py"],
    "weights": ["weights", "odd"],
    "weights diff": ["weights", "diff", "w.npz", "odd"],
    "convert": ["convert-caffemodel", "odd"],
    "convert net": ["convert-caffemodel", "w.npz", "--net", "odd"],
    "convert classes": ["convert-caffemodel", "w.npz", "--net", "net.prototxt", "--classes", "odd"],
    "convert mean": ["convert-caffemodel", "w.npz", "--net", "net.prototxt", "--mean", "odd"],
    "train": ["train", "--solver", "odd"],
    "train weights": ["train", "--solver", "solver.prototxt", "--weights", "odd"],
    "train snapshot": ["train", "--solver", "solver.prototxt", "--snapshot", "odd.solverstate"],
    "manifest": ["train", "--solver", "solver.prototxt", "--snapshot", "odd.manifest.json"],
    "test": ["test", "odd", "--weights", "w.npz"],
    "test weights": ["test", "net.prototxt", "--weights", "odd"],
    "plug-in": ["check", "net.prototxt", "--plugin", "odd"],
    "solver's net": ["check", "named.prototxt"],
    "infogain matrix": ["check", "infogain.prototxt"],
    "list": ["convert-imageset", ".", "odd", "db"],
    "class names": ["convert-imageset", ".", "db", "--labels", "odd"],
    "database": ["image-mean", "odd"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("infogain.prototxt").write_text(NET + LOSS)
    for name, layer in DATA.items():
        Path(f"{name}.prototxt").write_text(f'layer {{ name: "d" top: "x" top: "l" {layer} }}')
    Image.new("RGB", (8, 8)).save("a.png")
    Path("list").write_text("a.png 1\n")
    Path("solver.prototxt").write_text(SOLVER)
    Path("named.prototxt").write_text(SOLVER.replace("net.prototxt", "odd"))
    write_npz("w.npz", {"fc": [np.zeros((4, 192), "f4"), np.zeros(4, "f4")]})
    return tmp_path


class Waits(BaseException):
    """Not an Exception, which a reader might take for an error of the file."""


@pytest.fixture
def watch() -> Iterator[None]:
    """Half a gigabyte more, and twenty seconds: whoever waits for a pipe is woken up."""

    def stop(number: int, frame: Any) -> None:
        raise Waits

    import torch  # noqa: F401  its memory is not the reader's

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    try:
        with limits():
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=SLOW if kind in OTHERS else ()) for kind in KINDS])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_file_is_refused(kind: str, command: str, folder: Path, watch: None, capsys: Any) -> None:
    words = COMMANDS[command]
    name = next((word for word in words if word.startswith("odd")), "odd")
    KINDS[kind](folder / name)
    kept = sorted(os.listdir())
    status = run(words)
    said = capsys.readouterr()
    assert status in (2, 65, 66, 74), said.err
    assert "internal error" not in said.err
    assert "odd" in said.err + said.out
    assert sorted(os.listdir()) == kept


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", DATA)
def test_what_is_no_file_feeds_no_net(kind: str, layer: str, folder: Path, watch: None) -> None:
    KINDS[kind](folder / "odd")
    with pytest.raises(NetcError) as caught:
        netc.load_net(f"{layer}.prototxt", phase="TRAIN")()
    assert "odd" in str(caught.value)


LOOPS = [name for name in COMMANDS if name not in ("database", "plug-in")]
"""A database is a folder, and has F140; a plug-in that is not there is a fault of the command line."""


@pytest.mark.parametrize("command", LOOPS)
def test_a_link_to_itself_is_one_fault(command: str, folder: Path, capsys: Any) -> None:
    """Whatever names it: one code, and the status of what is missing."""
    name = next((word for word in COMMANDS[command] if word.startswith("odd")), "odd")
    Path(name).symlink_to(name)
    status = run(COMMANDS[command])
    said = capsys.readouterr()
    assert "odd" in said.err + said.out
    assert status == 66, said.err + said.out
    assert "F102" in said.err + said.out
