"""BatchNorm layers of five blobs, as NVIDIA's Caffe writes them, and of three, as Caffe does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc import read_net
from netc.errors import NetcError
from netc.look.emit import emit
from netc.runtime.export.convert import Options, convert
from netc.weights import write_caffemodel

NET = """layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 3 dim: 4 dim: 5 }} }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "data" top: "y" {} }}
layer {{ name: "sc" type: "Scale" bottom: "y" top: "z" scale_param {{ bias_term: true }} }}"""

FIVE, THREE = NET.format("batch_norm_param { scale_bias: true }"), NET.format("")
MEAN, VARIANCE = np.array([1, -2, 0.5], "f4"), np.array([4, 0.25, 2], "f4")
SCALE, SHIFT = np.array([2, -1, 3], "f4"), np.array([0.5, 1, -1], "f4")
X = np.random.default_rng(4).standard_normal((2, 3, 4, 5)).astype("f4")


def expected() -> Any:
    mean, variance, scale, shift = (v[:, None, None].astype("f8") for v in (MEAN, VARIANCE, SCALE, SHIFT))
    return (X - mean) / np.sqrt(variance + 1e-5) * scale + shift


def file(path: Path, net: str, factor: Any, scaled: bool) -> str:
    blobs = [MEAN, VARIANCE, np.array(factor, "f4")] + ([SCALE, SHIFT] if scaled else [])
    layers = {"bn": blobs, "sc": [np.ones(3, "f4"), np.zeros(3, "f4")]}
    write_caffemodel(str(path), read_net(net), layers)
    return str(path)


@pytest.mark.parametrize("factor", [[1], [0], [np.nan], [999.98], []], ids=str)
def test_blob_2_of_five_is_never_read(tmp_path: Path, factor: list[float]) -> None:
    """A file of whatever factor, or of none, alone, converted and emitted."""
    path = file(tmp_path / "m.caffemodel", FIVE, factor, True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        net = netc.load_net(FIVE, weights=path)
    found = net(data=X)["z"].detach().numpy()
    np.testing.assert_allclose(found, expected(), rtol=1e-5, atol=1e-5)
    again = convert(path, str(tmp_path / "m.safetensors"), Options(net=FIVE)).out
    np.testing.assert_allclose(netc.load_net(FIVE, weights=again)(data=X)["z"].detach(), expected(), 1e-5, 1e-5)
    space: dict[str, Any] = {}
    emission = emit(net.graph)
    exec(emission.code, space)
    module = space[emission.class_name]().eval()
    module.load_state_dict(net.state_dict())
    np.testing.assert_allclose(module(torch.from_numpy(X)).detach(), expected(), 1e-5, 1e-5)


@pytest.mark.parametrize("factor", [[0], [np.nan]], ids=str)
def test_five_blobs_as_onnx(tmp_path: Path, factor: list[float]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = file(tmp_path / "m.caffemodel", FIVE, factor, True)
    out = convert(path, str(tmp_path / "m.onnx"), Options(net=FIVE)).out
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"data": X})[0], expected(), rtol=1e-5, atol=1e-5)


def test_three_blobs_with_a_factor_of_0_are_doubtful(tmp_path: Path) -> None:
    """Caffe's own rule, mean and variance 0, with a warning; none in TRAIN, where the batch is the norm."""
    path = file(tmp_path / "m.caffemodel", THREE, [0], False)
    with pytest.warns(UserWarning, match=r'layer "bn" \(BatchNorm\): the factor of its sums is 0'):
        net = netc.load_net(THREE, weights=path)
    np.testing.assert_allclose(net(data=X)["z"].detach(), X / np.sqrt(1e-5), rtol=1e-4)
    remarks = convert(path, str(tmp_path / "m.npz"), Options(net=THREE)).remarks
    assert any("factor of its sums is 0" in remark for remark in remarks)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        netc.load_net(THREE, "TRAIN", weights=path)
        netc.load_net(THREE, weights=file(tmp_path / "good.caffemodel", THREE, [2], False))


@pytest.mark.parametrize(
    ("net", "scaled", "says"),
    [
        (THREE, True, r"five arrays are a BatchNorm of NVIDIA's Caffe.*scale_bias: true.*take that Scale layer out"),
        (FIVE, False, r"three arrays are Caffe's BatchNorm.*take scale_bias and its fillers out and put a Scale"),
    ],
)
def test_nets_and_weights_of_two_forks(tmp_path: Path, net: str, scaled: bool, says: str) -> None:
    path = file(tmp_path / "m.caffemodel", net, [1], scaled)
    for use in (lambda: netc.load_net(net, weights=path), lambda: convert(path, "o.npz", Options(net=net))):
        with pytest.raises(NetcError, match=says) as raised:
            use()
        assert raised.value.code == "W720"


@pytest.mark.parametrize("blocks", [(), (1, 1), (0, 0, 0), (1, 1, 0, 0, 0), (0, 0, 0, 2, 0)])
def test_the_multipliers_are_the_layers_own(blocks: tuple[int, ...]) -> None:
    """NVIDIA's LayerSetUp sets them, whatever the file says."""
    specs = " ".join(f"param {{ lr_mult: {lr} decay_mult: 0 }}" for lr in blocks)
    net = NET.format(f"{specs} batch_norm_param {{ bias_filler {{ value: 0 }} }}")
    for phase in ("TRAIN", "TEST"):
        refs = netc.compile_net(net, phase).node("bn").params
        assert [(ref.lr_mult, ref.decay_mult) for ref in refs] == [(0, 0), (0, 0), (0, 0), (1, 1), (1, 1)]


def test_caffes_own_refuses_an_lr_mult_of_its_sums() -> None:
    with pytest.raises(NetcError, match="L301"):
        netc.compile_net(NET.format("param { lr_mult: 1 } param { lr_mult: 1 }"), "TRAIN")
