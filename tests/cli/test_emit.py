"""`netc emit`: where the code and the weights go, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import netc
from netc import weights
from netc.cli._main import run
from tests.netc.look.emit.running import executed

NET = """
name: "twins"
layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 6 } } }
layer { name: "one" type: "InnerProduct" bottom: "a" top: "one" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 4 } }
layer { name: "two" type: "InnerProduct" bottom: "b" top: "two" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 4 } }
layer { name: "act" type: "TanH" bottom: "two" top: "two" include { stage: "bent" } }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net of shared parameters and its weights."""
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    random = np.random.default_rng(0)
    blobs = [random.normal(size=(4, 6)).astype("f4"), random.normal(size=4).astype("f4")]
    net = netc.load_net("net.prototxt", weights={"one": blobs, "two": blobs})
    weights.write_caffemodel("net.caffemodel", net.graph.param, {"one": blobs, "two": blobs})
    return tmp_path


def test_to_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["emit", "net.prototxt"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith('"""twins, written by netc')
    assert shown.err == ""
    executed(shown.out, "Twins")


def test_a_file_and_its_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["emit", "net.prototxt", "-o", "twins.py", "--weights", "net.caffemodel", "--class-name", "Pair"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "wrote twins.py and twins.safetensors: class Pair\n"
    module = executed(Path("twins.py").read_text(), "Pair")()
    module.load_state_dict(load_file("twins.safetensors"), strict=True)
    assert module.one.weight is module.two.weight
    a, b = torch.randn(2, 2, 6)
    expected = netc.load_net("net.prototxt", weights="net.caffemodel")(a=a, b=b)
    found = module(a, b)
    assert list(found) == ["one", "two"]
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert sorted(path.name for path in folder.iterdir()) == [
        "net.caffemodel",
        "net.prototxt",
        "twins.py",
        "twins.safetensors",
    ]


def test_stages_and_shipped_nets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["emit", "net.prototxt", "--stage", "bent"]) == 0
    assert "torch.tanh(self.two(b))" in capsys.readouterr().out
    assert run(["emit", "mini_vgg_A", "--phase", "TRAIN"]) == 0
    assert "F.cross_entropy(x, label.long())" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, code, status",
    [
        (["--weights", "net.caffemodel"], "C171", 2),
        (["--class-name", "not a name"], "C170", 2),
        (["--class-name", "nn"], "C170", 2),
        (["-o", "net.prototxt"], "C172", 2),
        (["-o", "code.safetensors", "--weights", "net.caffemodel"], "C172", 2),
        (["-o", "x.py", "--weights", "gone.caffemodel"], "F110", 66),
        (["-o", "x.py", "--weights", "net.prototxt"], "W701", 65),
        (["-o", "no/folder/x.py"], "O165", 73),
    ],
)
def test_what_is_refused_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: str, status: int
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run(["emit", "net.prototxt", *options]) == status
    assert f"error[{code}]" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_weights_that_lack_a_layer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("more.prototxt").write_text(
        NET
        + 'layer { name: "three" type: "InnerProduct" bottom: "two" top: "c" inner_product_param { num_output: 3 } }'
    )
    assert run(["emit", "more.prototxt", "-o", "x.py", "--weights", "net.caffemodel"]) == 65
    assert 'error[W764]: the file has no weights for 1 layer of the net: "three"' in capsys.readouterr().err
    assert not Path("x.py").exists()


def test_two_layers_of_one_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("same.prototxt").write_text(NET.replace('name: "two" type', 'name: "one" type'))
    assert run(["emit", "same.prototxt", "-o", "x.py", "--weights", "net.caffemodel"]) == 65
    assert "error[W765]" in capsys.readouterr().err


def test_it_answers_without_torch(folder: Path) -> None:
    code = (
        "import sys; from netc.cli import main; sys.argv = ['netc', 'emit', 'net.prototxt', '-o', 'x.py', '--weights', "
    )
    code += "'net.caffemodel']; status = main(); sys.exit(status or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "wrote x.py and x.safetensors: class Twins\n")


def test_weights_that_convert_caffemodel_wrote_load_into_the_module(folder: Path) -> None:
    assert run(["convert-caffemodel", "net.caffemodel", "--net", "net.prototxt", "-o", "converted.safetensors"]) == 0
    assert run(["emit", "net.prototxt", "-o", "twins.py", "--weights", "net.caffemodel"]) == 0
    module = executed(Path("twins.py").read_text(), "Twins")()
    module.load_state_dict(load_file("converted.safetensors"), strict=True)
    expected = load_file("twins.safetensors")
    assert sorted(expected) == sorted(module.state_dict())
    assert all(torch.equal(tensor, expected[key]) for key, tensor in module.state_dict().items())
