"""`netc optimise`, `netc cache`, `netc time --engines`, `netc test --engine`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import netc
from netc.cli import main
from netc.weights.formats.npz import write_npz


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def resnet(shared: Path) -> list[str]:
    folder = shared / "zoo/caffemodel/cifar10_resnet20"
    return [str(folder / "res20_cifar_train_test.prototxt"), "--weights", str(folder / "ResNet_20.caffemodel")]


def test_folded_files_give_the_same(resnet: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.prototxt"
    assert main(["optimise", *resnet, "--shape", "3,32,32", "-o", str(out), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["layers"] == {"before": 94, "after": 52}
    assert len(said["folded"]) == 42
    assert said["parity"]["ok"]
    folded = netc.load_net(str(out), weights=str(out.with_suffix(".caffemodel")))
    assert not {"BatchNorm", "Scale"} & {node.type for node in folded.graph.nodes}
    exact = netc.load_net(resnet[0], weights=resnet[2], shapes={"Data1": (1, 3, 32, 32)})
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for name in folded.outputs:
        (wanted,) = exact(Data1=x, blobs=[name]).values()
        torch.testing.assert_close(folded(x)[name], wanted, rtol=1e-4, atol=1e-4)
    assert main(["optimise", *resnet, "--shape", "3,32,32", "-o", str(out)]) == 73
    assert "O140" in capfd.readouterr().err


@pytest.mark.parametrize("out", [".", "there", "new/"])
def test_a_folder_is_no_name(
    resnet: list[str], out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert main(["optimise", *resnet, "--shape", "3,32,32", "-o", out]) == 73
    assert "O165" in capfd.readouterr().err


def test_opencv_reads_them(resnet: list[str], tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV has no importer of Caffe's files")
    assert main(["optimise", *resnet, "--shape", "3,32,32", "-o", str(tmp_path / "s")]) == 0
    net = netc.load_net(str(tmp_path / "s.prototxt"), weights=str(tmp_path / "s.caffemodel"))
    theirs = cv2.dnn.readNetFromCaffe(str(tmp_path / "s.prototxt"), str(tmp_path / "s.caffemodel"))
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype("f4")
    theirs.setInput(x)
    np.testing.assert_allclose(
        net(torch.from_numpy(x))[net.outputs[-1]].numpy(), theirs.forward(), rtol=1e-3, atol=1e-4
    )


def test_a_blob_to_keep(resnet: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["optimise", *resnet, "--shape", "3,32,32", "-o", str(tmp_path / "s")]
    assert main([*words, "--keep", "Convolution1", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert "Convolution1" not in said["gone"]
    assert main([*words, "--force", "--keep", "nowhere"]) == 65
    assert "R602" in capfd.readouterr().err


def test_the_cache(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cache" / "weights-0"
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(1000))
    assert main(["cache", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["bytes"] == 1000
    assert [entry["name"] for entry in said["entries"]] == ["weights-0"]
    assert main(["cache"]) == 0
    assert "weights-0" in capfd.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert not folder.exists()


def test_engines_in_a_table(shared: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.runtime.engines import table

    engines = {name: engine for name, engine in table.ENGINES.items() if name != "compile"}  # that takes a minute
    monkeypatch.setattr(table, "ENGINES", engines)
    folder = shared / "zoo/caffemodel/lenet_ethereon"
    words = ["time", "--engines", str(folder / "lenet.prototxt"), "--batch", "3"]
    assert main([*words, "--weights", str(folder / "lenet_iter_10000.caffemodel"), "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)["rows"]
    figures = {(row["engine"], row["precision"]): row for row in rows}
    assert figures["torch", "fp32"]["difference"] == 0
    for row in rows:
        assert row["why"] or (row["ms"] > 0 and row["images_per_s"] > 0 and row["difference"] < 0.05)
    assert "calibration" in figures["onnxruntime", "int8"]["why"]


DATA = """
layer { name: "d" type: "DummyData" top: "d" top: "l" dummy_data_param { shape { dim: 8 dim: 3 dim: 9 dim: 9 }
  shape { dim: 8 } data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param { num_output: 4 kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" inner_product_param { num_output: 3
  weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "l" top: "accuracy" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "l" top: "loss" }
"""


def test_a_test_by_an_engine(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    net, weights = tmp_path / "n.prototxt", tmp_path / "w.npz"
    net.write_text(DATA)
    with weights.open("wb") as file:
        params = netc.load_net(str(net)).params
        write_npz(file, {name: [p.detach().numpy() for p in held] for name, held in params.items()}, lambda: "{}")
    found = []
    for words in ([], ["--engine", "onnxruntime"], ["--engine", "onnxruntime", "--precision", "int8"]):
        command = ["test", str(net), "--weights", str(weights), "--iterations", "3", "--json", *words]
        assert main(command) == 0, capfd.readouterr().err
        found.append(json.loads(capfd.readouterr().out))
    assert abs(found[0]["loss"] - found[1]["loss"]) < 1e-5
    assert found[2]["fp32"]["loss"] == found[0]["loss"]
    assert abs(found[2]["loss"] - found[0]["loss"]) < 0.1
    assert main(["test", str(net), "--weights", str(weights), "--engine", "onnxruntime", "--precision", "bf16"]) == 65
    assert "R772" in capfd.readouterr().err
