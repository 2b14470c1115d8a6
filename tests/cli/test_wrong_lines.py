"""Wrong command lines as people type them: the wrong kind of file in each place. What is said is true, names the file,
and can be followed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import netc
from netc import weights
from netc.cli._main import run

NET = """
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
DEPLOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    Image.new("RGB", (9, 7)).save(folder / "cat.png")
    Image.new("RGB", (9, 7)).save(folder / "cat.jpg")
    (folder / "net.prototxt").write_text(NET)
    (folder / "deploy.prototxt").write_text(DEPLOY)
    (folder / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1')
    drawn = 'type: "DummyData" dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } }'
    (folder / "drawn.prototxt").write_text(re.sub('type: "Data"(.*?) data_param .*?}', rf"{drawn}\1", NET, count=1))
    (folder / "drawn_solver.prototxt").write_text('net: "drawn.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1')
    (folder / "list.txt").write_text("a/cat.png 0\na/cat.jpg 1\n")
    (folder / "empty").touch()
    for sub in ("folder", "nets"):
        (folder / sub).mkdir()
    (folder / "nets/alexnet.prototxt").write_text(NET)
    arrays = {"fc": [np.ones((2, 3), "f4"), np.ones(2, "f4")]}
    weights.write_caffemodel(folder / "my.caffemodel", netc.read_net(DEPLOY), arrays)
    return folder


PICTURE = "error[P105]: this is a picture, not a prototxt"
LIST = "error[P105]: this is a list of images, not a prototxt"
NOT_WEIGHTS = "netc reads .caffemodel, .caffemodel.h5, .safetensors and .npz"


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("check cat.png", 65, [PICTURE, "source of a data layer"]),
        ("train cat.jpg", 65, [PICTURE]),
        ("fmt cat.png", 65, [PICTURE]),
        ("check list.txt", 65, [LIST, "ImageData"]),
        ("train list.txt", 65, [LIST]),
        ("draw list.txt", 65, [LIST]),
        ("check empty", 0, ["warning[A800]: this net has no layers"]),
        ("check folder", 66, ["error[F103]: the folder has no solver.prototxt", "no prototxt at all"]),
        ("train nets", 66, ["error[F103]: the folder has no solver.prototxt", "it has alexnet.prototxt"]),
        ("test nets --weights my.caffemodel", 66, ["has no train_val.prototxt", "it has alexnet.prototxt"]),
        ("train net.prototxt", 65, ["this is a net, not a solver", "`net: …`"]),
        ("train my.caffemodel", 65, ["this is a binary net, not a solver", "--weights"]),
        ("test solver.prototxt --weights my.caffemodel", 65, ["a solver, not a net", "solver's `net:` names"]),
        (
            "train drawn_solver.prototxt --snapshot cat.png",
            65,
            ["not the state of a training run but a PNG", "--snapshot"],
        ),
        ("train drawn_solver.prototxt --snapshot list.txt", 65, ["of a training run but text", ".solverstate"]),
        ("fmt my.caffemodel", 65, ["binary file, not a prototxt", "netc weights"]),
        ("weights net.prototxt", 65, ["not a weight file but text", NOT_WEIGHTS]),
        ("weights cat.png", 65, ["not a weight file but a PNG picture", NOT_WEIGHTS]),
        ("convert-caffemodel list.txt -o x.npz", 65, ["not a weight file but text", NOT_WEIGHTS]),
        ("emit deploy.prototxt --weights solver.prototxt -o x.py", 65, ["not a weight file but text"]),
        ("image-mean folder", 65, ["an empty folder", "netc convert-imageset"]),
        ("image-mean cat.png", 65, ["a picture", "netc convert-imageset"]),
        ("image-mean db mean.npy", 2, ["mean.npy would hold a BlobProto", ".binaryproto"]),
        ("convert-imageset list.txt db2", 66, ["this is not a folder", "ROOT LISTFILE DB"]),
        ("check net.prototxt --plugin cat.png", 2, ["cat.png: error[C211]: this is not Python"]),
        ("check net.prototxt --plugin folder", 2, ["error[C210]: this is a folder"]),
        ("net.prototxt", 2, ["netc check net.prototxt looks at this file"]),
        ("trian solver.prototxt", 2, ['did you mean "train"?']),
        ("train solver.prototxt --weigths my.caffemodel", 2, ["--weights"]),
        ("train solver.prototxt --iterations many", 2, ["'many' is not a whole number"]),
        ("--phase TRAIN check net.prototxt", 2, ["stand behind its name: netc COMMAND --phase"]),
    ],
)
def test_what_a_wrong_line_is_told(home: Path, line: str, status: int, said: list[str], capsys, monkeypatch) -> None:
    monkeypatch.chdir(home)
    before = sorted(home.rglob("*"))
    assert run(shlex.split(line)) == status
    err = capsys.readouterr().err
    assert [part for part in said if part not in err] == [], err
    assert "frozen" not in err
    assert "Traceback" not in err
    assert sorted(home.rglob("*")) == before


def test_no_option_is_proposed_that_is_not_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--model", "net.prototxt"]) == 2
    err = capsys.readouterr().err
    assert "--model" in err
    assert "Did you mean" not in err


@pytest.mark.parametrize("text", ['name "x" 1', "conv1.a 3 {", "layer.b: 3", "# a.png 0"])
def test_a_prototxt_with_an_error_is_not_taken_for_a_list(text: str, home: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(home)
    (home / "broken").write_text(text)
    run(["check", "broken"])
    assert "list of images" not in capsys.readouterr().err
    (home / "broken").unlink()
