"""The Python of docs/weights.md, docs/prototxt.md and docs/look.md runs as written, on small nets of their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc import weights
from netc.cli._main import run
from tests.runtime.data.made import raw, write_lmdb

DOCS = Path(__file__).resolve().parents[2] / "docs"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 7 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 2 } }
layer { name: "prob" type: "Softmax" bottom: "conv" top: "prob" }
"""

MEMORY = """
layer { name: "m" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 4 channels: 3 height: 8 width: 8 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def execute(page: str, scope: dict[str, object]) -> dict[str, object]:
    blocks = CODE.findall((DOCS / page).read_text())
    assert blocks
    for block in blocks:
        exec(block, scope)
    return scope


def test_weights_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    arrays = {"conv": [rng.standard_normal((4, 3, 2, 2), "f4"), rng.standard_normal(4, "f4")]}
    weights.write_caffemodel("bvlc_googlenet.caffemodel", netc.read_net(NET), arrays)
    convert = ["convert-caffemodel", "bvlc_googlenet.caffemodel", "--mean", "104,117,123", "-o"]
    assert [run([*convert, f"googlenet.{ending}"]) for ending in ("safetensors", "pt2")] == [0, 0]
    images = torch.from_numpy(rng.standard_normal((2, 3, 9, 7), "f4"))
    scope = execute("weights.md", {"torch": torch, "images": images})
    assert "read back bit for bit" in capsys.readouterr().out
    assert scope["scores"].shape == (2, 4, 8, 6)  # type: ignore[attr-defined]
    assert scope["card"].preprocessing.mean == [104, 117, 123]  # type: ignore[attr-defined]


def test_prototxt_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("memory.prototxt").write_text(MEMORY)
    solver = 'net: "memory.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot_after_train: false'
    Path("memory_solver.prototxt").write_text(solver)
    data = 'type: "Data" top: "data" top: "label" data_param { source: "val_lmdb" batch_size: 4 }'
    Path("train_val.prototxt").write_text(re.sub(r'type: "MemoryData".*?} }', data + " }", MEMORY, flags=re.S))
    rng = np.random.default_rng(1)
    write_lmdb("val_lmdb", {b"%02d" % n: raw(rng.integers(0, 256, (3, 8, 8)), n % 3) for n in range(12)})
    scope: dict[str, Any] = execute("prototxt.md", {})
    assert scope["first"]["loss"] == scope["again"]["loss"] != scope["second"]["loss"]
    assert scope["scores"].shape == (4, 3)
    assert scope["run"].iter == 30  # type: ignore[attr-defined]
    assert capsys.readouterr().out.count("'loss'") == 4


def test_the_look_page_and_the_lenet(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = 'type: "Data" top: "data" top: "label" data_param { source: "mnist_lmdb" batch_size: 2 }'
    Path("lenet_train_test.prototxt").write_text(re.sub(r'type: "MemoryData".*?} }', data + " }", MEMORY, flags=re.S))
    (line,) = re.findall(r"^\$ netc (check .*--shape.*)$", (DOCS / "look.md").read_text(), re.MULTILINE)
    assert run(line.split()) == 0
    page = capsys.readouterr().out
    assert "2×1×28×28" in page
    scope = execute("look.md", {})
    assert capsys.readouterr().out.startswith(page)
    assert [net["images"] for net in scope["found"]["nets"]] == [64, 64]  # type: ignore[index]
