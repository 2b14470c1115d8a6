"""Gradients where a loss has a corner: what Caffe's strict comparison leaves there."""

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
