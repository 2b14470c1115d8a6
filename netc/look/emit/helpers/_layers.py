"""Caffe's layers that torch has none for. Never imported by netc: its text goes into emitted files."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """Caffe's BatchNorm: it keeps running sums of means, of variances and of their weights, and neither scales nor
    shifts. `use_global_stats` None: the sums after `eval()`, the batch's own statistics after `train()`."""

    def __init__(
        self, channels: int, eps: float = 1e-5, fraction: float = 0.999, use_global_stats: bool | None = None
    ) -> None:
        super().__init__()
        self.eps, self.fraction, self.use_global_stats = eps, fraction, use_global_stats
        self.mean: Tensor
        self.variance: Tensor
        self.factor: Tensor
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.zeros(channels))
        self.register_buffer("factor", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        batch = self.training if self.use_global_stats is None else not self.use_global_stats
        planes = x if x.dim() > 1 else x[:, None]
        return (self.by_batch(planes) if batch else self.by_sums(planes)).view_as(x)

    def by_sums(self, x: Tensor) -> Tensor:
        scale = torch.where(self.factor == 0, 0, 1 / self.factor)
        return F.batch_norm(x, self.mean * scale, self.variance * scale, eps=self.eps)

    def by_batch(self, x: Tensor) -> Tensor:
        mean, variance = torch.zeros_like(self.mean), torch.zeros_like(self.variance)
        if x.numel() == x.shape[1]:  # one value a channel has no variance
            y, mean = x - x, x.detach().flatten()
        else:
            y = F.batch_norm(x, mean, variance, training=True, momentum=1.0, eps=self.eps)
        with torch.no_grad():
            self.mean.mul_(self.fraction).add_(mean)
            self.variance.mul_(self.fraction).add_(variance)
            self.factor.mul_(self.fraction).add_(1)
        return y


class ScaledBatchNorm(BatchNorm):
    """NVIDIA's BatchNorm with a learned factor and an offset for each channel behind it."""

    def __init__(
        self, channels: int, eps: float = 1e-5, fraction: float = 0.999, use_global_stats: bool | None = None
    ) -> None:
        super().__init__(channels, eps, fraction, use_global_stats)
        self.scale = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * spread(self.scale, x.dim() - 2) + spread(self.bias, x.dim() - 2)


class Scale(nn.Module):
    """A learned factor (and summand) for each channel; `axes_behind`: how many axes follow those that it spans."""

    def __init__(self, size: int | tuple[int, ...], axes_behind: int = 2, bias: bool = True) -> None:
        super().__init__()
        self.axes_behind = axes_behind
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        y = x * spread(self.weight, self.axes_behind)
        return y if self.bias is None else y + spread(self.bias, self.axes_behind)


class Bias(nn.Module):
    """A learned summand for each channel; `axes_behind`: how many axes follow those that it spans."""

    def __init__(self, size: int | tuple[int, ...], axes_behind: int = 2) -> None:
        super().__init__()
        self.axes_behind = axes_behind
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return x + spread(self.bias, self.axes_behind)


def spread(factor: Tensor, axes_behind: int) -> Tensor:
    """`factor` with axes of size 1 behind it."""
    return factor.view(*factor.shape, *[1] * axes_behind)


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


def im2col(
    x: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """The window of each output pixel as a column of channels; the sizes belong to the last axes."""
    first = x.dim() - len(kernel)
    x = F.pad(x, [pad for size in reversed(padding) for pad in (size, size)])
    for axis, (size, step, gap) in enumerate(zip(kernel, stride, dilation, strict=True), first):
        x = x.unfold(axis, gap * (size - 1) + 1, step)[..., ::gap]
    outputs = x.shape[first : first + len(kernel)]
    order = (*range(first), *range(first + len(kernel), x.dim()), *range(first, first + len(kernel)))
    return x.permute(order).reshape(*x.shape[: first - 1], -1, *outputs)


def at_least(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """`x` with zeros behind the end of its last axes, so that they are at least this long."""
    missing = [max(0, size - length) for size, length in zip(sizes, x.shape[-len(sizes) :], strict=True)]
    return F.pad(x, [pad for size in reversed(missing) for pad in (0, size)])


def larger(first: Tensor, second: Tensor, *others: Tensor) -> Tensor:
    """The larger of two values, the second of equal ones; a further one has to be greater."""
    y = torch.where(first > second, first, second)
    for other in others:
        y = torch.where(other > y, other, y)
    return y


def lrn_within_channel(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
    """Local response normalisation over size x size pixels of one channel, zeros around the image."""
    return x * (1 + alpha * F.avg_pool2d(x * x, size, 1, size // 2)) ** -beta


def mean_variance_normalize(
    x: Tensor, across_channels: bool = False, variance: bool = True, eps: float = 1e-9
) -> Tensor:
    """(x - mean) / (standard deviation + eps) over each plane, or over each sample."""
    rows = x.flatten(1) if across_channels else x.reshape(x.shape[0] * x[0:1].flatten(0, 1).shape[0], -1)
    if not variance:
        return (rows - rows.mean(1, keepdim=True)).view_as(x)
    y: Tensor = Normalized.apply(rows, eps)  # type: ignore[no-untyped-call]
    return y.view_as(x)


class Normalized(torch.autograd.Function):
    """Rows with mean 0 and variance 1; the gradient, as Caffe's, takes eps for nothing."""

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


def argmax(x: Tensor, top_k: int = 1, dim: int | None = None, values: bool = False) -> Tensor:
    """The positions of the top_k largest scores, of equal ones the later first; without `dim` of a whole sample, and
    with `values` followed by the scores themselves (with `dim` and `values`: the scores only)."""
    axis = 1 if dim is None else dim
    scores = x.flatten(1) if dim is None else x
    best, order = scores.flip(axis).sort(dim=axis, descending=True, stable=True)
    best = best.narrow(axis, 0, top_k).detach()
    places = (scores.shape[axis] - 1 - order.narrow(axis, 0, top_k)).to(x.dtype)
    if dim is not None:
        return best if values else places
    planes = torch.stack([places, best] if values else [places], dim=1)
    return planes.view(*planes.shape, *[1] * (x.dim() - 3))
