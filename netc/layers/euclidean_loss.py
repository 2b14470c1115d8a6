from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, count, format_shape, layer
from netc.layers.losses import Loss


@layer("EuclideanLoss")
class EuclideanLoss(Loss):
    """loss = 1/(2N) Σ (a - b)², with gradients to both bottoms.

    Shapes: two bottoms of equal batch size N and equal count a sample (the axes may differ) → scalar.
    Errors: bottoms that differ in these. Source: euclidean_loss_layer.cpp.
    """

    no_gradient = ()
    force_backward_skips = ()
    function = "euclidean_loss"
    settings = {}

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_batches(bottoms)
        if count(bottoms[0], 1) != count(bottoms[1], 1):
            listed = " and ".join(format_shape(shape) for shape in bottoms)
            self.fail(f"its bottoms differ in size: {listed}", "bottom", code="L302")
        return [()]
