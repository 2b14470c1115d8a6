"""Normalisation over neighbours (lrn_layer.cpp), planes (mvn_layer.cpp) and batches (batch_norm_layer.cpp)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netc.layers.functions.gradients import normalised
from netc.layers.functions.scales import affine


def lrn_across_channels(x: Tensor, size: int, alpha: float, beta: float, k: float = 1.0) -> Tensor:
    """x / (k + alpha / size · Σ x²)^beta over `size` channels, zeros before the first and behind the last."""
    padded = F.pad(x * x, (0, 0, 0, 0, size // 2, size // 2))
    total = padded.narrow(1, 0, x.shape[1])
    for shift in range(1, size):  # shifted copies: pooling takes longer
        total = total + padded.narrow(1, shift, x.shape[1])
    return x * (k + alpha / size * total) ** -beta


def lrn_within_channel(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
    """x / (1 + alpha / size² · Σ x²)^beta over size x size pixels of one channel, zeros around the image."""
    return x * (1 + alpha * F.avg_pool2d(x * x, size, 1, size // 2)) ** -beta


def mean_variance_normalize(
    x: Tensor, across_channels: bool = False, variance: bool = True, eps: float = 1e-9
) -> Tensor:
    """(x - mean) / (standard deviation + eps) over each plane, or over each sample; without `variance` x - mean. The
    result has four axes, of size 1 where x has none."""
    shape = (*x.shape, *[1] * (4 - x.dim()))
    groups = shape[0] if across_channels else shape[0] * shape[1]
    rows = x.reshape(groups, x.numel() // max(groups, 1))
    return (normalised(rows, eps) if variance else rows - rows.mean(1, keepdim=True)).view(shape)


def batch_norm(x: Tensor, sums: tuple[Tensor, Tensor, Tensor], use_sums: bool, eps: float, fraction: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) for each channel (axis 1; a vector is one channel).

    `sums`: running sums of means, of variances (unbiased) and of their weights. Their quotients are the statistics with
    `use_sums`; else these are the batch's own, which are added to the sums after those were multiplied by `fraction`.
    """
    planes = x if x.dim() > 1 else x[:, None]
    if not use_sums:
        return batch_norm_of_batch(planes, sums, eps, fraction).view_as(x)
    mean, variance, factor = sums
    scale = torch.where(factor == 0, 0, 1 / factor)
    return F.batch_norm(planes, mean * scale, variance * scale, eps=eps).view_as(x)


def batch_norm_by_averages(
    x: Tensor, averages: tuple[Tensor, Tensor], use_averages: bool, eps: float, fraction: float
) -> Tensor:
    """As `batch_norm`, but by averages of means and of variances (unbiased), as NVIDIA's fork keeps them. A batch moves
    them by 1 - fraction of the way; while both are 0, the first one sets them."""
    planes = x if x.dim() > 1 else x[:, None]
    if use_averages:
        return F.batch_norm(planes, *averages, eps=eps).view_as(x)
    y, found = normalised_by_batch(planes, eps)
    unset = (averages[0] == 0).all() & (averages[1] == 0).all()
    share = torch.where(unset, 1.0, 1 - fraction).to(x.dtype)
    with torch.no_grad():
        for average, new in zip(averages, found, strict=True):
            average.mul_(1 - share).add_(new * share)
    return y.view_as(x)


def batch_norm_of_batch(x: Tensor, sums: tuple[Tensor, Tensor, Tensor], eps: float, fraction: float) -> Tensor:
    """By the mean and the biased variance of the batch itself."""
    y, found = normalised_by_batch(x, eps)
    with torch.no_grad():
        for total, new in zip(sums, (*found, torch.ones_like(sums[2])), strict=True):
            total.mul_(fraction).add_(new)
    return y


def normalised_by_batch(x: Tensor, eps: float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """(x by the mean and the biased variance of each channel, these means and the unbiased variances)."""
    mean, variance = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1])
    if x.numel() == x.shape[1]:  # one value a channel: torch refuses, Caffe takes a variance of 0
        y, mean = x - x, x.detach().flatten()
    else:  # with momentum 1, torch's running statistics become the batch's mean and unbiased variance
        y = torch.batch_norm(x, None, None, mean, variance, True, 1.0, eps, torch.backends.cudnn.enabled)
    return y, (mean, variance)


class BatchNorm(nn.Module):
    """Caffe's BatchNorm: it keeps running sums of means, of variances and of their weights, and neither scales nor
    shifts. `use_global_stats` None: the sums after `eval()`, the batch's own statistics after `train()`."""

    def __init__(
        self, channels: int, eps: float = 1e-5, fraction: float = 0.999, use_global_stats: bool | None = None
    ) -> None:
        super().__init__()
        self.eps, self.fraction, self.use_global_stats = eps, fraction, use_global_stats
        for name, size in (("mean", channels), ("variance", channels), ("factor", 1)):
            self.register_buffer(name, torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        sums = (self.get_buffer("mean"), self.get_buffer("variance"), self.get_buffer("factor"))
        use_sums = not self.training if self.use_global_stats is None else self.use_global_stats
        return batch_norm(x, sums, use_sums, self.eps, self.fraction)


class ScaledBatchNorm(BatchNorm):
    """NVIDIA's BatchNorm: it keeps averages, which nothing divides by `factor`, and has a learned factor and an offset
    for each channel behind it."""

    def __init__(
        self, channels: int, eps: float = 1e-5, fraction: float = 0.999, use_global_stats: bool | None = None
    ) -> None:
        super().__init__(channels, eps, fraction, use_global_stats)
        self.get_buffer("factor").fill_(1)
        self.scale = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        averages = (self.get_buffer("mean"), self.get_buffer("variance"))
        use_averages = not self.training or bool(self.use_global_stats)
        y = batch_norm_by_averages(x, averages, use_averages, self.eps, self.fraction)
        return affine(y, self.scale, self.bias, x.dim() - 2)
