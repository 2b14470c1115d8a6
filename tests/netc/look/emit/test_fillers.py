"""An emitted training net starts as the file's fillers say: ranges, spreads and constants of filler.hpp."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import netc
from netc.look.emit import emit
from tests.netc.look.emit.running import emitted

NET = """
layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 12 dim: 9 dim: 7 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param {{ num_output: 40 kernel_size: 3 weight_filler {{ {weight} }} bias_filler {{ {bias} }} }} }}
"""
FAN_IN, FAN_OUT = 12 * 9, 40 * 9


def weights(weight: str, bias: str = "") -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    module = emitted(netc.compile_net(NET.format(weight=weight, bias=bias), "TRAIN"))
    parameters = dict(module.named_parameters())
    return parameters["conv.weight"].detach(), parameters["conv.bias"].detach()


@pytest.mark.parametrize(
    "filler, bound",
    [
        ('type: "xavier"', math.sqrt(3 / FAN_IN)),
        ('type: "xavier" variance_norm: FAN_OUT', math.sqrt(3 / FAN_OUT)),
        ('type: "xavier" variance_norm: AVERAGE', math.sqrt(6 / (FAN_IN + FAN_OUT))),
        ('type: "uniform" min: -0.3 max: 0.3', 0.3),
    ],
)
def test_uniform_ones_fill_their_range(filler: str, bound: float) -> None:
    """4,320 numbers: the largest lies within a thousandth of the bound, the spread is that of a uniform one."""
    weight, _ = weights(filler)
    assert bound * 0.998 < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


@pytest.mark.parametrize(
    "filler, std",
    [
        ('type: "msra"', math.sqrt(2 / FAN_IN)),
        ('type: "msra" variance_norm: FAN_OUT', math.sqrt(2 / FAN_OUT)),
        ('type: "msra" variance_norm: AVERAGE', math.sqrt(4 / (FAN_IN + FAN_OUT))),
        ('type: "gaussian" std: 0.01', 0.01),
        ('type: "gaussian" std: 0.5 sparse: 10', 0.5 * math.sqrt(10 / 40)),
    ],
)
def test_normal_ones_have_their_spread(filler: str, std: float) -> None:
    """4,320 numbers: their spread is within 5 % (four standard errors of a normal one)."""
    weight, _ = weights(filler)
    assert weight.std().item() == pytest.approx(std, rel=0.05)
    assert abs(weight.mean().item()) < std * 0.06


def test_constants_and_what_is_not_given() -> None:
    weight, bias = weights('type: "constant" value: 1', "value: 0.1")
    assert (weight == 1).all()
    assert (bias == 0.1).all()
    weight, bias = weights("", "")
    assert not weight.any()
    assert not bias.any()


def test_a_unit_ball_and_a_vector() -> None:
    weight, bias = weights('type: "positive_unitball"', 'type: "xavier"')
    assert (weight >= 0).all()
    assert torch.allclose(weight.flatten(1).sum(1), torch.ones(40))
    assert 0.5 * math.sqrt(3) < bias.abs().max() <= math.sqrt(3)  # a vector's fan_in is 1


def test_a_bilinear_kernel() -> None:
    """Of size 3: rows of .5 1 .5 (behaviour.md)."""
    weight, _ = weights('type: "bilinear"')
    line = np.array([0.5, 1, 0.5])
    assert np.allclose(weight.numpy(), np.outer(line, line))


def test_layers_that_start_alike_share_the_lines() -> None:
    text = NET.format(weight='type: "xavier"', bias="value: 0.1")
    text += text.splitlines()[2].replace('"conv"', '"more"').replace('bottom: "x"', 'bottom: "conv"')
    text += text.splitlines()[3]
    code = emit(netc.compile_net(text, "TRAIN")).code
    assert "        for layer in (self.conv, self.more):\n" in code
    assert code.count("nn.init.") == 2
    assert "nn.init" not in emit(netc.compile_net(text, "TEST")).code


def test_dummy_data_is_made_by_its_filler() -> None:
    text = """
    layer { name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param {
      shape { dim: 200 dim: 30 } shape { dim: 3 } data_filler { type: "gaussian" mean: 2 std: 0.5 }
      data_filler { value: 4 } } }
    layer { name: "t" type: "Power" bottom: "a" top: "t" }
    """
    module = emitted(netc.compile_net(text, "TEST"))
    found = module()
    assert found["t"].std().item() == pytest.approx(0.5, rel=0.05)
    assert (found["b"] == 4).all()
    assert torch.equal(module(a=torch.ones(1, 2))["t"], torch.ones(1, 2))


def test_dummy_data_by_a_filler_that_torch_has_not() -> None:
    text = """
    layer { name: "d" type: "DummyData" top: "a" dummy_data_param {
      shape { dim: 3 dim: 5 } data_filler { type: "positive_unitball" } } }
    layer { name: "t" type: "Reduction" bottom: "a" top: "t" reduction_param { axis: 1 } }
    """
    assert torch.allclose(emitted(netc.compile_net(text, "TEST"))(), torch.ones(3))
