"""A layer of Caffe's forks. Never imported by netc: its text goes into emitted files."""

from __future__ import annotations

import torch
from torch import Tensor


def kept_or_dropped(x: Tensor, ratio: float, training: bool = True) -> Tensor:
    """Dropout that leaves what it keeps as it is, and scales where nothing is dropped."""
    return x * (torch.rand_like(x) >= ratio) if training else x * (1 - ratio)
