"""Modules of emitted code that hold parameters as Caffe does, for operations that torch has."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SharedPReLU(nn.Module):
    """A ReLU with one learned slope for all channels, a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight.reshape(1))


class TransposedLinear(nn.Module):
    """An inner product whose weight is (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        nn.init.xavier_uniform_(self.weight)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.t(), self.bias)


class BiasedEmbedding(nn.Module):
    """A learned vector for each index, and a summand for all of them."""

    def __init__(self, indices: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(indices, size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, index: Tensor) -> Tensor:
        return F.embedding(index.long(), self.weight) + self.bias


class Parameter(nn.Module):
    """A learned tensor without an input."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
