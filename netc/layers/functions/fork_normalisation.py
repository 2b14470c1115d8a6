"""Normalisation of forks: Normalize of SSD, the layers called BN. The modules hold their parameters in emitted code."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def length_normalised(x: Tensor, scale: Tensor, eps: float, across_spatial: bool = True) -> Tensor:
    """scale · x / sqrt(Σ x² + eps), the sum over the channels of each position, or over all of the image."""
    axes = tuple(range(1, x.dim())) if across_spatial else (1,)
    norm = (x.square().sum(axes, keepdim=True) + eps).sqrt()
    return x / norm * scale.reshape(-1, *[1] * (x.dim() - 2))


class Normalize(nn.Module):
    """length_normalised with a learned scale, one or one for each channel."""

    def __init__(self, channels: int | None = None, eps: float = 1e-10, across_spatial: bool = True) -> None:
        super().__init__()
        self.eps, self.across_spatial = eps, across_spatial
        self.weight = nn.Parameter(torch.ones(() if channels is None else (channels,)))

    def forward(self, x: Tensor) -> Tensor:
        return length_normalised(x, self.weight, self.eps, self.across_spatial)


def batch_normalised(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    running: list[Tensor],
    eps: float,
    dim: int = 1,
    momentum: float | None = None,
    statistics: str = "batch",
) -> Tensor:
    """scale · (x - mean) / sqrt(variance + eps) + shift along `dim`.

    `statistics`: "batch" the batch's own, "running" those of `running` (mean, variance), "none" scale and shift alone.
    With a momentum the running ones move towards the batch's by this share.
    """
    shape = [-1 if axis == dim else 1 for axis in range(x.dim())]
    scale, shift = scale.reshape(shape), shift.reshape(shape)
    if statistics == "none":
        return x * scale + shift
    if statistics == "running":
        mean, variance = (blob.reshape(shape) for blob in running)
    else:
        variance, mean = torch.var_mean(x, [axis for axis in range(x.dim()) if axis != dim], correction=0, keepdim=True)
        if momentum is not None:
            with torch.no_grad():
                for blob, new in zip(running, (mean, variance), strict=True):
                    blob.lerp_(new.reshape(blob.shape), momentum)
    return (x - mean) / (variance + eps).sqrt() * scale + shift


class BN(nn.Module):
    """batch_normalised with its parameters. `statistics` may also be "by mode": the batch's after `train()`, when the
    running ones follow, and the running ones after `eval()`."""

    def __init__(
        self,
        shape: tuple[int, ...],
        eps: float,
        names: tuple[str, str] = ("scale", "shift"),
        dim: int = 1,
        momentum: float | None = None,
        statistics: str = "batch",
    ) -> None:
        super().__init__()
        self.eps, self.names, self.dim, self.momentum, self.statistics = eps, names, dim, momentum, statistics
        self.register_parameter(names[0], nn.Parameter(torch.ones(shape)))
        self.register_parameter(names[1], nn.Parameter(torch.zeros(shape)))
        if momentum is not None:
            self.register_buffer("mean", torch.zeros(shape))
            self.register_buffer("variance", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = map(self.get_parameter, self.names)
        by_mode = "batch" if self.training else "running"
        statistics = by_mode if self.statistics == "by mode" else self.statistics
        momentum = self.momentum if self.training else None
        return batch_normalised(x, scale, shift, list(self.buffers()), self.eps, self.dim, momentum, statistics)
