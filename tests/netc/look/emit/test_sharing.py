"""Emitted code of layers that share parameters: under other shapes, and under names of any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import netc
from netc import weights
from netc.cli._main import run
from netc.look.emit import emit

SHARED = """
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 dim: 4 dim: 4 }} }} }}
layer {{ name: "{0}" type: "Convolution" bottom: "x" top: "y" param {{ name: "w" {2} }} param {{ name: "b" }}
  convolution_param {{ num_output: 3 kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "{1}" type: "Convolution" bottom: "y" top: "z" param {{ name: "w" {2} }} param {{ name: "b" }}
  convolution_param {{ num_output: 3 kernel_size: 1 }} }}
"""
LONG = "inception_3a/5x5_reduce/of/a/tower/" * 4
PERMISSIVE = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" param { name: "w" share_mode: PERMISSIVE }
  param { name: "b" } inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "cv" type: "Convolution" bottom: "x" top: "z" param { name: "w" share_mode: PERMISSIVE }
  param { name: "b" } convolution_param { num_output: 5 kernel_size: 4 } }
"""


def made(code, name):
    space: dict[str, object] = {}
    exec(compile(code, "emitted", "exec"), space)
    return space[name]()


@pytest.mark.parametrize("phase", ["TEST", "TRAIN"])
@pytest.mark.parametrize("rate", ["", "lr_mult: 0"])
@pytest.mark.parametrize("first", ["a", "b3/left", LONG + "left", LONG[:50] + " = (1) + 'x', ["])
@pytest.mark.parametrize("second", ["c", "b3/right", LONG + "right", LONG[:70] + " = "])
def test_names_of_any_length(first, second, rate, phase):
    text = SHARED.format(first, second, rate)
    emission = emit(netc.compile_net(text, phase))
    net, walked = made(emission.code, emission.class_name), netc.load_net(text)
    net.load_state_dict(walked.state_dict())
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(net(x), walked(x=x)["z"])
    assert max(map(len, emission.code.splitlines())) <= 120 or "noqa: E501" in emission.code


@pytest.mark.parametrize("phase", ["TEST", "TRAIN"])
def test_one_parameter_under_two_shapes(tmp_path, phase):
    random = np.random.default_rng(3)
    w, b = random.standard_normal((5, 48)).astype("f4"), random.standard_normal(5).astype("f4")
    weights.write_caffemodel(
        tmp_path / "m.caffemodel", netc.read_net(PERMISSIVE), {"ip": [w, b], "cv": [w.reshape(5, 3, 4, 4), b]}
    )
    (tmp_path / "net.prototxt").write_text(PERMISSIVE)
    arguments = ["emit", str(tmp_path / "net.prototxt"), "-o", str(tmp_path / "mod.py"), "--phase", phase]
    assert run([*arguments, "--weights", str(tmp_path / "m.caffemodel")]) == 0
    from safetensors.torch import load_file

    net = made((tmp_path / "mod.py").read_text(), "Net")
    state = load_file(tmp_path / "mod.safetensors")
    net.load_state_dict(state)
    netc.load_net(PERMISSIVE).load_state_dict(state)
    x = torch.randn(2, 3, 4, 4)
    found = net(x)
    by_hand = x.numpy().reshape(2, 48) @ w.T + b
    assert np.allclose(found["y"].detach(), by_hand, atol=1e-4)
    assert np.allclose(found["z"].detach()[:, :, 0, 0], by_hand, atol=1e-4)
    found["z"].sum().backward()
    assert torch.allclose(net.ip.weight.grad, x.sum(0).flatten().expand(5, 48), atol=1e-4)
