"""docs/from_caffe.md: its programs run, one after the other, and do what the text says."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import netc
import netc.pycaffe
import tests.runtime.pycaffe.test_memory
from netc.cli import main
from netc.cli._main import load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from_caffe.md"
BODY = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: AVE global_pooling: true } }
layer { name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 32 dim: 32 } } }'
DATA = """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }"""
SCORES = """layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy"
  include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }"""
ROWS = """layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {
  source: "rows.txt" batch_size: 2 } }"""
PROB = 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }'
SOLVER = """net: "train_val.prototxt" test_iter: 1 test_interval: 10 base_lr: 0.1 lr_policy: "fixed" momentum: 0.9
max_iter: 100 snapshot_prefix: "run" """


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {
        "deploy.prototxt": INPUT + BODY + PROB,
        "saliency.prototxt": "force_backward: true\n" + INPUT + BODY + PROB,
        "train_val.prototxt": DATA + BODY + SCORES,
        "solver.prototxt": SOLVER,
        "wrong.prototxt": 'layer { name: "x" type: "Convolusion" }',
    }
    for name, text in texts.items():
        Path(name).write_text(text)
    netc.pycaffe.Net("deploy.prototxt", netc.pycaffe.TEST).save("net.caffemodel")
    with h5py.File("rows.h5", "w") as rows:
        rows["data"] = np.random.default_rng(3).normal(size=(5, 3, 8, 8)).astype(np.float32)
        rows["label"] = np.array([1, 0, 0, 1, 0], np.float32)
    Path("rows.txt").write_text("rows.h5\n")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("cat.jpg")


@pytest.mark.usefixtures("_files")
def test_its_programs_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8
    image = np.random.default_rng(1).normal(size=(3, 32, 32)).astype(np.float32)
    found: dict[str, Any] = {"np": np, "image": image, "netc": netc}
    try:
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), found)
    finally:
        netc.pycaffe.uninstall()
    check(found)
    assert capsys.readouterr().out.startswith("G410 ")


def check(found: dict[str, Any]) -> None:
    net, solver = found["net"], found["solver"]
    assert found["scores"].shape == (1, 2)
    assert np.ptp(net.blobs["fc"].data) >= 0
    assert Path("changed.caffemodel").exists()
    assert found["gradient"][0].any()
    assert not found["gradient"][1].any()
    assert solver.iter == 20
    assert found["loss"] < 0.2  # all labels are 1
    assert found["accuracy"] == 1
    assert Path("run_iter_20.solverstate").exists()
    assert found["probabilities"].shape == (1, 2)
    assert found["written"].blobs["pool1"].shape == (1, 8, 15, 15)
    assert len(found["message"].layer) == 3
    assert Path("net.png").read_bytes().startswith(b"\x89PNG")
    assert issubclass(found["Doubled"], netc.pycaffe.Layer)
    assert "caffe" not in sys.modules


# -- what is different, row by row -------------------------------------------------------------------------------------


def check_finds() -> None:
    with pytest.raises(netc.NetcError) as caught:
        netc.pycaffe.Net("wrong.prototxt", netc.pycaffe.TEST)
    assert (caught.value.line, caught.value.path) == (1, "wrong.prototxt")
    assert "did you mean" in caught.value.message


def no_gpu() -> None:
    caffe = netc.pycaffe
    if torch.cuda.is_available():
        return
    with pytest.warns(UserWarning, match="torch sees no GPU"):
        caffe.set_mode_gpu()
    caffe.set_device(0)
    assert caffe.Net("deploy.prototxt", caffe.TEST).forward()["prob"].shape == (2, 2)


def seeds() -> None:
    caffe = netc.pycaffe
    dropped = DATA + 'layer { name: "drop" type: "Dropout" bottom: "data" top: "data" }' + BODY
    found = []
    for _ in range(2):
        caffe.set_random_seed(5)
        net = caffe.Net(dropped, caffe.TRAIN)
        net.forward()
        found.append([net.params["fc"][0].data, net.blobs["data"].data])
    assert all((one == other).all() for one, other in zip(*found, strict=True))
    assert (caffe.Net(dropped, caffe.TRAIN).params["fc"][0].data != found[0][0]).any(), "a second net starts elsewhere"


def resumed() -> None:
    caffe = netc.pycaffe
    Path("rows.prototxt").write_text(ROWS + BODY + SCORES)
    Path("rows_solver.prototxt").write_text(
        'net: "rows.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "rows" test_interval: 3'
    )
    solver = caffe.SGDSolver("rows_solver.prototxt")
    solver.step(1)
    first = solver.net.blobs["data"].data.copy()
    solver.snapshot()
    solver.step(1)
    second = solver.net.blobs["data"].data.copy()
    again = caffe.SGDSolver("rows_solver.prototxt")
    again.restore("rows_iter_1.solverstate")
    again.step(1)
    assert (again.net.blobs["data"].data == second).all()
    assert (second != first).any()


def several_gpus() -> None:
    caffe = netc.pycaffe
    assert not caffe.has_nccl()
    assert caffe.solver_count() == 1
    for call in (lambda: caffe.NCCL(None, ""), lambda: caffe.set_solver_count(2), lambda: caffe.set_solver_rank(1)):
        with pytest.raises(netc.NetcError):
            call()


def whole_set() -> None:
    """Five records in batches of two: each counts once in the accuracy that the log tells."""
    resumed()
    caffe = netc.pycaffe
    solver = caffe.SGDSolver("rows_solver.prototxt")
    solver.net.params["fc"][0].data[...] = 0
    solver.net.params["fc"][1].data[...] = [0, 1]  # everything is of class 1, as are two of the five
    solver.param.base_lr = 0
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        solver.step(1)
    assert "Test net output #0: accuracy = 0.4" in said.getvalue()


def on_a_gpu() -> None:
    """The memory that stands for a GPU's: tests/runtime/pycaffe/test_memory.py."""
    tests.runtime.pycaffe.test_memory.test_on_a_gpu_writes_are_carried_before_the_next_use()


DIFFERENCES = {
    "what Caffe's CHECK finds": check_finds,
    "`caffe.set_mode_gpu()` without a GPU": no_gpu,
    "a net's first values, shuffling, dropout": seeds,
    "resumed training": resumed,
    "several GPUs (`NCCL`, `solver_count`)": several_gpus,
    "a test without `test_iter`": whole_set,
    "`blob.data` on a GPU": on_a_gpu,
}
"""What the page's table names → a test that it is so."""


def test_each_difference_is_tried() -> None:
    table = PAGE.read_text().split("## What is different\n")[1].strip().split("\n\n")[0]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]] == list(DIFFERENCES)


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("row", DIFFERENCES)
def test_what_is_different(row: str) -> None:
    DIFFERENCES[row]()


def test_the_programs_that_the_page_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a command, and each of Caffe's names is answered by it."""
    rows = re.findall(r"^\| (`.*?) \| `netc ([\w-]+)", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == 15
    for caffes, ours in rows:
        assert load(ours) is not None
        for name in re.findall(r"`(?:caffe )?([\w.]+)", caffes):
            main([name, "--help"])
            said = "".join(capsys.readouterr())
            assert f"netc {ours}".replace("_", "-") in said.replace("_", "-"), name


def test_the_names_that_the_page_lists() -> None:
    """Code words of the page that are names of caffe's: they are there."""
    caffe = netc.pycaffe
    text = PAGE.read_text()
    for name in re.findall(r"`caffe\.([\w.]+)", text):
        found = caffe
        for part in name.split("."):
            found = getattr(found, part)
    listed = re.findall(r"`(\w+)`", text.split("## Nets\n")[1].split("* An array")[0])
    assert len(listed) > 20
    for name in set(listed) - {"start", "end", "blobs", "diffs"}:
        assert hasattr(caffe.Net, name), name
    listed = re.findall(r"`(\w+)`", text.split("solver.snapshot()\n```")[1].split("are there.")[0])
    for name in set(listed) - {"net", "test_nets"}:
        assert hasattr(caffe.Solver, name), name
    assert set(caffe.__all__) <= set(dir(caffe))
    for name in caffe.__all__:
        assert getattr(caffe, name) is not None
    with pytest.raises(AttributeError):
        _ = caffe.nothing
