"""Programs as people wrote them for pycaffe and its forks, in our own words, run by `netc run`: each checks itself.

They stand in `programs/`: a classifier for the command line, tools that read a net's message, the heart of a demo on
the web, FCN's training, Fast and Faster R-CNN's, SSD's, and the cells of BVLC's notebooks.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import netc.pycaffe as caffe
from netc.cli import main
from tests.runtime.pycaffe.nets import DEPLOY, written

PROGRAMS = Path(__file__).parent / "programs"
TRUNK = """layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }"""
HEAD = """layer { name: "roi_pool" type: "ROIPooling" bottom: "pool1" bottom: "rois" top: "pool5"
  roi_pooling_param { pooled_w: 3 pooled_h: 3 spatial_scale: 0.5 } }
layer { name: "fc6" type: "InnerProduct" bottom: "pool5" top: "fc6"
  inner_product_param { num_output: 16 weight_filler { type: "xavier" } } }
layer { name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }
layer { name: "cls_score" type: "InnerProduct" bottom: "fc6" top: "cls_score"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "bbox_pred" type: "InnerProduct" bottom: "fc6" top: "bbox_pred"
  inner_product_param { num_output: 12 weight_filler { type: "gaussian" std: 0.001 } } }"""
ROI_DATA = """name: "rois" layer { name: "data" type: "Python" top: "data" top: "rois" top: "labels" top: "bbox_targets"
  top: "bbox_inside_weights" top: "bbox_outside_weights"
  python_param { module: "roi_layers" layer: "RoIDataLayer" param_str: "{'num_classes': 3}" } }"""
ROI_LOSSES = """layer { name: "loss_cls" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "labels" top: "loss_cls"
  propagate_down: 1 propagate_down: 0 loss_weight: 1 }
layer { name: "loss_bbox" type: "SmoothL1Loss" bottom: "bbox_pred" bottom: "bbox_targets" bottom: "bbox_inside_weights"
  bottom: "bbox_outside_weights" top: "loss_bbox" loss_weight: 1 }"""
PROPOSAL = """layer { name: "proposal" type: "Python" bottom: "pool1" bottom: "im_info" top: "rois"
  python_param { module: "roi_layers" layer: "ProposalLayer" } }"""
PROB = 'layer { name: "prob" type: "Softmax" bottom: "cls_score" top: "cls_prob" }'
IMAGE = 'name: "t" input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The programs in a folder of their own, with a Caffe that was never built; no module of theirs stays."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PROGRAMS, tmp_path, dirs_exist_ok=True)
    dead = tmp_path / "caffe-fast-rcnn/python/caffe"
    dead.mkdir(parents=True)
    (dead / "__init__.py").write_text("from ._caffe import Net\n")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.fixture
def trained(folder: Path) -> Path:
    """deploy.prototxt with its weights, and a picture."""
    caffe.Net(written(folder, DEPLOY, "deploy.prototxt"), caffe.TEST).save("net.caffemodel")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save("cat.jpg")
    return folder


def run(*words: str) -> None:
    assert main(["run", *words]) == 0


@pytest.mark.usefixtures("trained")
def test_a_classifier_for_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    run("classify.py", "cat.jpg", "out.npy", "--images_dim", "6,6")
    assert "CPU mode\nClassifying 1 inputs.\n" in capfd.readouterr().out
    one = np.load("out.npy")
    assert one.shape == (1, 5)
    assert one.sum() == pytest.approx(1, abs=1e-5)
    run("classify.py", ".", "folder.npy", "--images_dim", "6,6")
    assert (np.load("folder.npy") == one).all()
    np.save("mean.npy", np.full((3, 9, 9), 100.0))
    np.save("in.npy", np.stack([caffe.io.load_image("cat.jpg")] * 3))
    run("classify.py", "in.npy", "three.npy", "--center_only", "--mean_file", "mean.npy", "--images_dim", "6,6")
    assert np.load("three.npy").shape == (3, 5)
    assert main(["run", "classify.py", "--no-such-option"]) == 2, "argparse's own status"
    assert main(["run", "classify.py", "--help"]) == 0
    assert "input_file" in capfd.readouterr().out


def test_tools_that_read_a_message(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train = DEPLOY.replace('top: "conv"', 'top: "conv" param { lr_mult: 0 decay_mult: 2 } include { phase: TEST }', 1)
    run("look.py", written(folder, train, "net.prototxt"), "net.png", "ALL")
    out = capfd.readouterr().out.splitlines()
    assert "conv | Convolution | x0.0 Dx2.0 | data -> conv | 4x3 TEST" in out
    assert "relu | ReLU | | - | " in out
    assert out[-1] == "4 edges"
    assert Path("net.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("trained")
def test_pictures_that_come_as_bytes_in_threads(capfd: pytest.CaptureFixture[str]) -> None:
    run("serve.py")
    assert capfd.readouterr().out.endswith("True\n")


def test_fcns_training(capfd: pytest.CaptureFixture[str]) -> None:
    run("segment.py", "0")
    assert "SegDataLayer train 60 True" in capfd.readouterr().out


def test_fast_and_faster_rcnn(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = {
        "roi_train": ROI_DATA + TRUNK + HEAD + ROI_LOSSES,
        "roi_test": f'{IMAGE} input: "rois" input_shape {{ dim: 1 dim: 5 }} {TRUNK}{HEAD}{PROB}',
        "rpn_test": f'{IMAGE} input: "im_info" input_shape {{ dim: 1 dim: 3 }} {TRUNK}{PROPOSAL}{HEAD}{PROB}',
        "trunk": IMAGE + TRUNK,
        "roi_solver": """train_net: "roi_train.prototxt" base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 50000
          display: 20 average_loss: 100 momentum: 0.9 weight_decay: 0.0005 snapshot: 0 snapshot_prefix: "rois"
          iter_size: 2""",
    }
    for name, text in files.items():
        written(folder, text, f"{name}.prototxt")
    caffe.Net("trunk.prototxt", caffe.TEST).save("trunk.caffemodel")
    run("detect_rois.py")
    assert capfd.readouterr().out.endswith("trained RoIDataLayer\nrois_iter_40 detects\n")


def test_ssd(capfd: pytest.CaptureFixture[str]) -> None:
    """What it learns in 70 iterations finds the box of a new picture."""
    run("ssd.py")
    assert capfd.readouterr().out.startswith("('left', [")


def test_fine_tuning_side_by_side(capfd: pytest.CaptureFixture[str]) -> None:
    lines = []
    for number in range(30):
        pixels = np.random.default_rng(number).integers(0, 60, (30 + number % 5, 40, 3))
        pixels[..., number % 3] += 150
        Image.fromarray(pixels.astype(np.uint8)).save(f"{number}.png")
        lines.append(f"{number}.png {number % 3}\n")
    Path("list.txt").write_text("".join(lines))
    run("style.py")
    assert "accuracy " in capfd.readouterr().out


def test_small_notebooks(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("h5py")
    run("small_notebooks.py")
    assert "features" in capfd.readouterr().out
