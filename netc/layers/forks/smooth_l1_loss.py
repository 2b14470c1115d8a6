from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from netc.layers.base import Shape, between, count, exactly, format_shape, layer
from netc.layers.losses import VALID, Loss, mean_over, normalization


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
    function = "smooth_l1_loss"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_shapes(bottoms)
        if self.options.sigma <= 0:
            self.fail(f"sigma {self.options.sigma:g} is not above 0", "smooth_l1_loss_param.sigma")
        self.settings = self.changed(sigma="sigma")
        return [()]


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
    informative_tops = (1,)
    param_field = "loss_param"
    function = "smooth_l1_loss_with_terms"
    values = 2

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_shapes(bottoms)
        mode = normalization(self)
        self.settings = {} if mode == VALID else {"normalization": mode}
        self.mean_over = mean_over(self.settings)
        shape = bottoms[0]
        return self.first_tops([(), (shape[0], 1, *(*shape[2:4], 1, 1)[:2])])


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
    function = "l1_loss"
    settings = {}

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_shapes(bottoms)
        return [()]
