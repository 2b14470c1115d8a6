"""Gradients where a loss has a corner: what Caffe's strict comparison leaves there, what its backward pass reads."""

from __future__ import annotations

import pytest
import torch

import netc

TEXT = """
layer {{ name: "i" type: "Input" top: "a" top: "b" top: "same"
  input_param {{ shape {{ dim: 3 dim: 2 }} shape {{ dim: 3 dim: 2 }} shape {{ dim: 3 }} }} }}
layer {{ name: "l" type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "same" top: "loss"
  contrastive_loss_param {{ margin: 4 {} }} }}
"""


@pytest.mark.parametrize("legacy, inside", [("legacy_version: true", -1 / 3), ("", -3 / (1 + 1e-4) / 3)])
def test_contrastive_loss_at_its_margin(legacy: str, inside: float) -> None:
    """Pairs apart at a distance of 1 (inside), exactly at the margin, and beyond it."""
    at = 2.0 if legacy else 4.0
    a = torch.tensor([[1.0, 0.0], [at, 0.0], [0.0, 9.0]], requires_grad=True)
    net = netc.load_net(TEXT.format(legacy))
    net(a=a, b=torch.zeros(3, 2), same=torch.zeros(3))["loss"].backward()
    assert a.grad is not None
    torch.testing.assert_close(a.grad, torch.tensor([[inside, 0.0], [0.0, 0.0], [0.0, 0.0]]))


PROBABILITIES = """
layer { name: "i" type: "Input" top: "x" top: "y" top: "H" top: "t" input_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 } shape { dim: 3 dim: 3 } shape { dim: 4 dim: 3 } } }
layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "y" bottom: "H" top: "loss" top: "p"
  loss_weight: 1 loss_weight: 0 }
layer { name: "e" type: "EuclideanLoss" bottom: "p" bottom: "t" top: "other" loss_weight: 7 }
"""


def test_the_probabilities_of_infogain_loss_send_nothing_back() -> None:
    """infogain_loss_layer.cpp reads the diff of its first top only: whatever is made of the second one, the scores get
    (p · sum of the label's row of H - that row) / N."""
    torch.manual_seed(0)
    x, y = torch.randn(4, 3, requires_grad=True), torch.tensor([0.0, 2.0, 1.0, 2.0])
    infogain, target = torch.rand(3, 3), torch.randn(4, 3)
    net = netc.load_net(PROBABILITIES, "TRAIN")
    found = net(x=x, y=y, H=infogain, t=target)
    net.losses(found).backward()
    p, rows = x.detach().softmax(1), infogain[y.long()]
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (p * rows.sum(1, keepdim=True) - rows) / 4)
    total = -(rows * p.log()).sum() / 4 + 7 * (p - target).square().sum() / 8
    torch.testing.assert_close(net.losses(found).detach(), total)
