"""`netc.check`: what `netc check` prints, as an object."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import netc
from netc.cli._main import run

NET = """
name: "digits"
layer { name: "mnist" type: "Data" top: "data" top: "label" data_param { source: "nowhere_lmdb" batch_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 7 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    return tmp_path / "net.prototxt"


def test_it_has_what_the_command_prints(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = netc.check(path, phase="train", shapes={"data": (1, 6, 9)})
    options = ["--phase", "TRAIN", "--shape", "data=1,6,9"]
    assert run(["check", str(path), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": report.ok, "files": [json.loads(json.dumps(report.as_dict()))]}
    assert run(["check", str(path), *options]) == 0
    captured = capsys.readouterr()
    told = captured.err.replace(f"netc explain {report.advice[0].code} tells what this means and what to do\n", "")
    assert str(report) + "\n" == captured.out + told
    assert [net.label for net in report.nets] == ["TRAIN"]
    assert report.nets[0].analysis.params == 6 * 9 * 7 + 7


def test_errors_are_collected(path: Path) -> None:
    path.write_text(NET.replace('bottom: "ip"', 'bottom: "pi"'))
    report = netc.check(path, shapes={"": (1, 6, 9)})
    assert not report.ok
    assert (report.kind, [error.code for error in report.errors]) == ("net", ["G402"])
    assert report.errors[0].place is not None
    assert report.errors[0].place.line == 5
    assert "error[G402]" in str(report)


def test_names_of_nets_that_come_with_netc() -> None:
    report = netc.check("mini_vgg_A")
    assert report.ok
    assert (report.kind, report.solver.type) == ("solver", "SGD")
    with pytest.raises(netc.NetcError, match="did you mean") as caught:
        netc.check("vgg_F")
    assert caught.value.code == "F103"


def test_the_room_is_the_function_whichever_is_imported_first() -> None:
    code = "import netc; a = netc.check; import netc.check.examine as b; assert a('vgg_A').ok and netc.check is a"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(("kind", "block"), [("Data", "data"), ("ImageData", "image_data"), ("HDF5Data", "hdf5_data")])
def test_a_data_layer_without_a_source_is_said_to_have_none(path: Path, kind: str, block: str) -> None:
    path.write_text(f'layer {{ name: "d" type: "{kind}" top: "x" top: "y" {block}_param {{ batch_size: 2 }} }}')
    report = subprocess.run(
        [sys.executable, "-m", "netc", "check", str(path)], capture_output=True, text=True, check=False
    )
    assert 'error[D503]: layer "d" names no source' in report.stderr + report.stdout
