"""`--shape` of the commands that look at nets whose data are not here, and `-o`, the same in all that write a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import netc
from netc import weights
from netc.cli._main import load, run
from netc.cli._options import shape_of

NET = """
name: "digits"
layer { name: "mnist" type: "Data" top: "data" top: "label" data_param { source: "nowhere_lmdb" batch_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 7 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""

ROWS = """
layer { name: "rows" type: "HDF5Data" top: "data" top: "extra" top: "label"
  hdf5_data_param { source: "nowhere.txt" batch_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 7 } }
layer { name: "out" type: "Silence" bottom: "extra" bottom: "label" bottom: "ip" }
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("rows.prototxt").write_text(ROWS)


@pytest.mark.parametrize(
    "text, shape",
    [("1,28,28", (1, 28, 28)), ("3×32x48", (3, 32, 48)), ("5", (5,)), ("", ()), ("1,,2", ()), ("0,1,1", ()), ("a", ())],
)
def test_shape_of(text, shape):
    assert shape_of(text) == shape


def test_check_says_the_option_and_takes_it(capsys):
    assert run(["check", "net.prototxt"]) == 66
    assert "--shape CHANNELS,HEIGHT,WIDTH" in capsys.readouterr().err
    assert run(["check", "net.prototxt", "--shape", "1,6,9", "--json"]) == 0
    net = json.loads(capsys.readouterr().out)["files"][0]["nets"][0]
    assert net["layers"][0]["tops"] == {"data": [5, 1, 6, 9], "label": [5]}
    assert net["parameters"] == 1 * 6 * 9 * 7 + 7
    assert net["notes"] == ['of layer "mnist" --shape says that its images are 1×6×9']


def test_shapes_by_top(capsys):
    arguments = ["check", "rows.prototxt", "--shape", "data=4,6", "--shape", "extra=2,3,8", "--json"]
    assert run(arguments) == 0
    (net,) = json.loads(capsys.readouterr().out)["files"][0]["nets"]
    assert net["layers"][0]["tops"] == {"data": [5, 4, 6], "extra": [5, 2, 3, 8], "label": [5]}


def test_draw_diff_and_emit_take_it(capsys):
    assert run(["draw", "net.prototxt", "-o", "-", "--shape", "1,6,9"]) == 0
    assert "385 parameters" in capsys.readouterr().out
    assert run(["draw", "net.prototxt", "-o", "-"]) == 0
    assert "--shape" in capsys.readouterr().err
    assert run(["diff", "net.prototxt", "net.prototxt", "--shape", "1,6,9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []
    assert run(["diff", "net.prototxt", "net.prototxt"]) == 0
    assert "--shape" in capsys.readouterr().out
    assert run(["emit", "net.prototxt", "--shape", "1,6,9"]) == 0
    assert "nn.Linear(54, 7)" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["1,28", "0,1,1", "data=", "x"])
def test_what_is_no_shape(capsys, text):
    assert run(["check", "net.prototxt", "--shape", text]) == 2
    assert "is not a shape" in capsys.readouterr().err


def test_a_shape_that_nothing_takes_is_said(capsys):
    assert run(["check", "vgg_Z/deploy.prototxt", "--shape", "1,6,9"]) == 66
    assert run(["emit", "mini_vgg_A", "--shape", "1,6,9"]) == 0
    assert "--shape was not needed" in capsys.readouterr().err


# -- -o ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["draw", "emit", "upgrade", "convert-caffemodel"])
def test_every_command_takes_all_names_of_the_output(command):
    found = load(command)
    assert found is not None
    (option,) = [param for param in found.params if "-o" in param.opts]
    assert option.opts == ["-o", "--output", "--out"]


@pytest.mark.parametrize("command", ["draw", "emit", "upgrade"])
def test_a_dash_is_stdout(command, capsys):
    assert run([command, "net.prototxt", "-o", "-", *(["--shape", "1,6,9"] if command != "upgrade" else [])]) == 0
    assert capsys.readouterr().out
    assert not Path("-").exists()


@pytest.mark.parametrize("name", [".", "/"])
@pytest.mark.parametrize("command", [("draw",), ("emit", "--shape", "1,6,9"), ("upgrade",)])
def test_a_folder_as_output(command, name, capsys):
    assert run([command[0], "net.prototxt", "-o", name, *command[1:]]) == 73
    assert "error[O1" in capsys.readouterr().err


def test_draw_writes_no_png(capsys):
    assert run(["draw", "net.prototxt", "-o", "net.png"]) == 2
    assert "C160" in capsys.readouterr().err
    assert not Path("net.png").exists()


def test_fmt_claims_nothing_of_a_file_it_could_not_read(capsys):
    assert run(["fmt", "missing.prototxt"]) == 66
    assert "canonical form already" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, head", [("w.safetensors", b"\x10\x27\0\0\0\0\0\0{"), ("w.npz", b"PK\x03\x04\x14\0\0\0")]
)
def test_arrays_are_no_damaged_net(name, head, capsys):
    Path(name).write_bytes(head + bytes(20_000))
    assert run(["check", name]) == 65
    said = capsys.readouterr().err
    assert "P105" in said
    assert "not a net" in said


# -- what training wrote, and solvers of other folders ----------------------------------------------------------------


def test_a_net_with_data_for_training_alone_is_checked_for_that(capsys):
    Path("net.prototxt").write_text(NET.replace('type: "Data"', 'type: "Data" include { phase: TRAIN }'))
    assert run(["check", "net.prototxt", "--shape", "1,6,9", "--json"]) == 0
    assert [net["phase"] for net in json.loads(capsys.readouterr().out)["files"][0]["nets"]] == ["TRAIN"]


def test_a_solver_whose_net_lies_beside_it(capsys):
    Path("examples").mkdir()
    Path("examples/net.prototxt").write_text(NET)
    text = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 1\nnet: "somewhere/else/net.prototxt"\n'
    Path("examples/solver.prototxt").write_text(text)
    assert run(["check", "examples/solver.prototxt"]) == 66
    said = capsys.readouterr().err
    assert said.startswith("examples/solver.prototxt:2:6: error[F120]")
    assert "there is examples/net.prototxt" in said


# -- conversions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained():
    """A .caffemodel as training saves it: with its data layer, and no word of how large its images are."""
    rng = np.random.default_rng(2)
    arrays = {"ip": [rng.standard_normal((7, 54), "f4"), rng.standard_normal(7, "f4")]}
    weights.write_caffemodel("trained.caffemodel", netc.read_net(NET), arrays)
    return "trained.caffemodel"


def test_convert_says_the_option_and_takes_it(trained, capsys):
    assert run(["convert-caffemodel", trained, "--to", "pt2"]) == 65
    assert "--shape CHANNELS,HEIGHT,WIDTH" in capsys.readouterr().err
    assert run(["convert-caffemodel", trained, "--to", "pt2", "--shape", "1,6,9"]) == 0
    assert "×1×6×9: largest difference" in capsys.readouterr().out


def test_a_report_without_a_place_is_told_before_anything_is_made(trained):
    assert run(["convert-caffemodel", trained, "-o", "made.npz", "--report", "no/such/report.json"]) == 73
    assert not Path("made.npz").exists()
    assert run(["convert-caffemodel", trained, "--to", "npz", "-o", "-"]) == 2


# -- the crop ----------------------------------------------------------------------------------------------------------

CROPPED = NET.replace("batch_size: 5 }", "batch_size: 5 } transform_param { crop_size: 5 }")


def test_the_shape_is_that_before_the_crop_in_every_command(tmp_path, capsys):
    """README: how large the images are. The net sees what is cut out of them."""
    Path("net.prototxt").write_text(CROPPED)
    rng = np.random.default_rng(2)
    arrays = {"ip": [rng.standard_normal((7, 75), "f4"), rng.standard_normal(7, "f4")]}
    weights.write_caffemodel("trained.caffemodel", netc.read_net(CROPPED), arrays)
    shape = ("--shape", "3,8,9")
    assert run(["check", "net.prototxt", *shape, "--json"]) == 0
    for net in json.loads(capsys.readouterr().out)["files"][0]["nets"]:
        assert net["layers"][0]["tops"]["data"] == [5, 3, 5, 5]
    assert run(["draw", "net.prototxt", "-o", "-", *shape]) == 0
    assert "532 parameters" in capsys.readouterr().out
    assert run(["emit", "net.prototxt", *shape]) == 0
    assert "nn.Linear(75, 7)" in capsys.readouterr().out
    assert run(["diff", "net.prototxt", "net.prototxt", *shape]) == 0
    assert run(["convert-caffemodel", "trained.caffemodel", "--run", *shape]) == 0
    assert "×3×5×5: largest difference" in capsys.readouterr().out
    net = netc.load_net("net.prototxt", weights="trained.caffemodel", shapes={"data": (2, 3, 8, 9)})
    assert net.blob_shapes["data"] == (2, 3, 5, 5)
    assert netc.check("net.prototxt", shapes={"": (3, 8, 9)}).ok


@pytest.mark.parametrize("shape", ["3,4,9", "3,9,4", "data=5,5"])
def test_images_smaller_than_the_crop(shape, capsys):
    Path("net.prototxt").write_text(CROPPED)
    assert run(["check", "net.prototxt", "--shape", shape]) == 65
    assert "L307" in capsys.readouterr().err
    assert run(["emit", "net.prototxt", "--shape", shape]) == 65
    assert "L307" in capsys.readouterr().err
    with pytest.raises(netc.NetcError, match="smaller|crops"):
        netc.load_net("net.prototxt", shapes={"data": (2, 3, 4, 4)})
