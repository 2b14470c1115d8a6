"""`netc convert-caffemodel`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netc.cli._main import run
from netc.weights.card import read_card
from tests.runtime.export.made import CLASSES, SEQUENCE, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def convert(tmp_path, monkeypatch, capsys):
    """convert(*arguments): exit status, stdout, stderr, in a folder with net.caffemodel."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "net.caffemodel", CLASSES)

    def converted(*arguments):
        status = run(["convert-caffemodel", *arguments])
        return status, *capsys.readouterr()

    return converted


def files():
    return sorted(entry.name for entry in Path.cwd().iterdir())


def test_the_default_is_safetensors_beside_the_file(convert):
    status, out, err = convert("net.caffemodel")
    assert (status, err) == (0, "")
    assert files() == ["net.caffemodel", "net.safetensors"]
    lines = out.splitlines()
    assert lines[0].startswith("net.safetensors: safetensors, ")
    assert any(line.startswith("  proof  4 arrays (") for line in lines)


def test_options_reach_the_card(convert):
    Path("names").write_text("\n".join(f"name {number}" for number in range(7)))
    convert("net.caffemodel", "--mean", "1,2,3", "--scale", "0.5", "--crop", "9", "--classes", "names", "-o", "x.npz")
    card = read_card("x.npz")
    assert card.classes[6] == "name 6"
    assert (card.preprocessing.mean, card.preprocessing.scale, card.preprocessing.crop) == ([1, 2, 3], 0.5, 9)


def test_json_and_the_report_are_the_same(convert):
    status, out, err = convert("net.caffemodel", "--run", "--json", "--report", "report.json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found == json.loads(Path("report.json").read_text())
    assert found["parity"]["ok"]
    assert {blob["name"] for blob in found["parity"]["blobs"]} == {"c", "p", "fc"}
    assert all(array["differing"] == 0 for array in found["parity"]["arrays"])
    assert found["parity"]["inputs"] == {"data": [2, 3, 14, 18]}


@pytest.mark.parametrize(
    "arguments, status, code",
    [
        (["missing.caffemodel"], 66, "F110"),
        (["net.caffemodel", "-o", "x.bin"], 2, "C160"),
        (["net.caffemodel", "-o", "net.caffemodel"], 2, "C161"),
        (["net.caffemodel", "--report", "net.caffemodel"], 2, "C161"),
        (["net.caffemodel", "--report", "net.safetensors"], 2, "C161"),
        (["net.caffemodel", "-o", "x.npz", "--report", "./x.npz"], 2, "C161"),
        (["net.caffemodel", "-o", "no/such/x.npz"], 73, "O165"),
        (["net.caffemodel", "--mean", "1,2"], 65, "W767"),
        (["net.caffemodel", "--mean", "nan"], 65, "W767"),
        (["net.caffemodel", "--scale", "inf"], 65, "W767"),
        (["net.caffemodel", "--scale", "0"], 65, "W767"),
        (["net.caffemodel", "--mean", "mean.binaryproto"], 66, "F120"),
        (["net.caffemodel", "--rgb"], 65, "W768"),
        (["net.caffemodel", "--to", "torchvision"], 65, "W775"),
        (["net.caffemodel", "--net", "vgg_E"], 65, "W764"),
        (["net.caffemodel", "--classes", "net.caffemodel"], 65, "D531"),
        (["net.caffemodel", "--classes", "no_such_names"], 66, "no_such_names"),
        (["net.caffemodel", "--to", "safetensor"], 2, ""),
    ],
)
def test_what_is_refused_leaves_nothing(convert, arguments, status, code):
    found, out, err = convert(*arguments)
    assert (found, out) == (status, "")
    assert code in err
    assert files() == ["net.caffemodel"]


def test_names_of_another_number_of_classes(convert):
    Path("names").write_text("one\ntwo\n")
    status, _, err = convert("net.caffemodel", "--classes", "names")
    assert status == 65
    assert "W766" in err


def test_a_net_of_another_kind(convert, tmp_path):
    write(tmp_path / "net.caffemodel", SEQUENCE)
    status, _, err = convert("net.caffemodel", "--rgb", "--mean", "0")
    assert status == 65
    assert "W769" in err


def test_weights_alone_are_converted_without_torch_and_without_the_grammar(convert, tmp_path):
    code = (
        "import sys; from netc.cli._main import run\n"
        "for out in ('a.safetensors', 'a.npz', 'b.caffemodel', 'a.h5'): assert not run(['convert-caffemodel', "
        "'net.caffemodel', '-o', out])\n"
        "assert not {'torch', 'lark'} & set(sys.modules)"
    )
    pytest.importorskip("h5py")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, env=environment())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_memory_stays_small(convert, tmp_path):
    """A file of 100 MB: its values pass through a buffer."""
    import numpy as np

    from netc import proto, weights

    net = proto.NetParameter(name="wide")
    net.layer.add(name="ip", type="InnerProduct")
    weights.write_caffemodel(tmp_path / "wide.caffemodel", net, {"ip": [np.ones((2500, 10007), "f4")]})
    # VmHWM and not getrusage: that counts the parent's memory, which the child has until it becomes another program
    code = (
        "from netc.cli._main import run\n"
        "assert not run(['convert-caffemodel', 'wide.caffemodel'])\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True, env=environment()
    )
    assert int(found.stdout.splitlines()[-1]) * 1024 < 90e6


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}
