"""Autograd functions for the gradients of Caffe's that are not those of the formula. Imported by `forward` only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Elementwise(torch.autograd.Function):
    """The value `y`, with the gradient g·dy towards `x`: for derivatives that Caffe defines in its own way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, dy: Tensor) -> Tensor:
        ctx.save_for_backward(dy)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (dy,) = ctx.saved_tensors
        return grad * dy, None, None


class Through(torch.autograd.Function):
    """The value `y`, with the gradient passed to `x` unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def elementwise(x: Tensor, y: Tensor, dy: Tensor) -> Tensor:
    """`y` as a function of `x` whose derivative is `dy`."""
    return Elementwise.apply(x, y.detach(), dy.detach())  # type: ignore[no-any-return, no-untyped-call]


def through(x: Tensor, y: Tensor) -> Tensor:
    """`y` as a function of `x` whose derivative is 1."""
    return Through.apply(x, y.detach())  # type: ignore[no-any-return, no-untyped-call]


class Normalised(torch.autograd.Function):
    """(x - mean) / (sqrt(variance) + eps) of each row, with the gradient that takes eps for nothing (mvn_layer.cpp)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        spread = centred.square().mean(1, keepdim=True).sqrt() + eps
        y = centred / spread
        ctx.save_for_backward(y, spread)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        y, spread = ctx.saved_tensors
        inner = grad - grad.mean(1, keepdim=True) - y * (grad * y).mean(1, keepdim=True)
        return inner / spread, None


def normalised(x: Tensor, eps: float) -> Tensor:
    """Rows of `x` with mean 0 and variance 1."""
    return Normalised.apply(x, eps)  # type: ignore[no-any-return, no-untyped-call]
