from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from netc.layers.base import Run, Shape, between, count, exactly, format_shape, layer
from netc.layers.losses import VALID, Loss, normalization, normalizer

if TYPE_CHECKING:
    from torch import Tensor


class Distance(Loss):
    """Two bottoms of one shape, and weights of that shape behind them."""

    no_gradient: ClassVar[tuple[int, ...] | None] = (2, 3)
    lenient = True
    force_backward_skips: ClassVar[tuple[int, ...]] = (2, 3)

    def check_shapes(self, bottoms: Sequence[Shape]) -> None:
        self.check_batches(bottoms)
        for place, shape in enumerate(bottoms):
            if count(shape) != count(bottoms[0]):
                listed = f"{format_shape(bottoms[0])} and {format_shape(shape)}"
                self.fail(f"its bottoms differ in size: {listed}", f"bottom[{place}]", code="L302")


@layer("SmoothL1Loss")
class SmoothL1Loss(Distance):
    """loss = 1/N Σ w_out · f(w_in · (a - b)), f(d) = (sigma · d)² / 2 for |d| < 1 / sigma², else |d| - 1 / (2 sigma²).

    Bottoms: a, b and, if given, w_in and w_out. Fields: `smooth_l1_loss_param { sigma (1) }`.
    Shapes: two to four of equal count → scalar. Errors: bottoms that differ in count or batch size.
    Source: Fast R-CNN (Girshick, 2015), equation 3; smooth_L1_loss_layer.cpp of rbgirshick/caffe-fast-rcnn.
    """

    fork = "Fast R-CNN (rbgirshick/caffe-fast-rcnn)"
    bottoms = between(2, 4)
    param_field = "smooth_l1_loss_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_shapes(bottoms)
        if self.options.sigma <= 0:
            self.fail(f"sigma {self.options.sigma:g} is not above 0", "smooth_l1_loss_param.sigma")
        return [()]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x, *others = bottoms
        target, *weights = (other.reshape(x.shape) for other in others)
        difference = (x - target) * weights[0].detach() if weights else x - target
        loss = smooth_l1(difference, self.options.sigma)
        if len(weights) > 1:
            loss = loss * weights[1].detach()
        return [loss.sum() / x.shape[0]]


@layer("SmoothL1LossOHEM")
class SmoothL1LossOHEM(Distance):
    """loss = 1/M Σ f(w · (a - b)), f as in SmoothL1Loss with sigma 1, and the sum of each region as a second top.

    Bottoms: a, b and, if given, w. M by `loss_param.normalization`: VALID (default) and FULL the positions (N · H · W),
    BATCH_SIZE N, PRE_FIXED `pre_fixed_normalizer`, NONE 1; at least 1. Gradients go through the first top.
    Shapes: (N, C, H, W) each → scalar, (N, 1, H, W). Errors: bottoms that differ in count or batch size.
    Source: R-FCN (Dai et al., 2016), section 2; smooth_L1_loss_ohem_layer.cpp of daijifeng001/caffe-rfcn.
    """

    fork = "R-FCN (daijifeng001/caffe-rfcn)"
    bottoms = between(2, 3)
    tops = between(1, 2)
    param_field = "loss_param"
    mode: int
    wanted: int

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_shapes(bottoms)
        self.mode, self.wanted = normalization(self, VALID), len(self.param.top)
        shape = bottoms[0]
        return [(), (shape[0], 1, *(*shape[2:4], 1, 1)[:2])][: len(self.param.top)]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x, *others = bottoms
        target, *weights = (other.reshape(x.shape) for other in others)
        loss = smooth_l1((x - target) * weights[0].detach() if weights else x - target, 1.0)
        channels = x.shape[1] if x.dim() > 1 else 1
        fixed = self.options.pre_fixed_normalizer
        total = loss.sum() / normalizer(self.mode, x.numel() // channels, x.shape[0], None, fixed)
        each = loss.detach().sum(1, keepdim=True) if x.dim() > 1 else loss.detach()[:, None]
        return [total, each.reshape(x.shape[0], 1, *(*x.shape[2:4], 1, 1)[:2])][: self.wanted]


@layer("L1Loss")
class L1Loss(Distance):
    """loss = 1/N Σ |a - b|, with the gradient 0 where a = b.

    Shapes: two of equal count → scalar. Errors: bottoms that differ in count or batch size.
    Source: l1_loss_layer.cpp of NVIDIA/caffe.
    """

    fork = "NVIDIA's Caffe"
    bottoms = exactly(2)
    no_gradient = ()
    force_backward_skips = ()

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_shapes(bottoms)
        return [()]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x = bottoms[0]
        return [(x - bottoms[1].reshape(x.shape)).abs().sum() / x.shape[0]]


def smooth_l1(difference: Tensor, sigma: float) -> Tensor:
    """(sigma · d)² / 2 near zero, |d| - 1 / (2 sigma²) further out."""
    import torch

    square, size = sigma * sigma, difference.abs()
    return torch.where(size < 1 / square, difference.square() * (square / 2), size - 0.5 / square)
