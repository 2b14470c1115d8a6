from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, count, format_shape, layer
from netc.layers.losses import BATCH_SIZE, Loss, loss_settings, mean_over


@layer("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(Loss):
    """loss = -1/M Σ t log σ(x) + (1 - t) log(1 - σ(x)) over all values whose target t, truncated, is not ignore_label.

    M by `loss_param.normalization`: BATCH_SIZE (default) N, FULL all values, VALID those that count, NONE 1; never
    below 1. `normalize`, the older field: true is VALID, false BATCH_SIZE. Shapes: two of equal count → scalar.
    Errors: counts that differ. Source: sigmoid_cross_entropy_loss_layer.cpp.
    """

    param_field = "loss_param"
    takes = "scores"
    contains = "Sigmoid"
    function = "sigmoid_loss"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_batches(bottoms)
        if count(bottoms[0]) != count(bottoms[1]):
            listed = " and ".join(map(format_shape, bottoms))
            self.fail(f"its bottoms differ in size: {listed}", "bottom", code="L302")
        self.settings = loss_settings(self, default=BATCH_SIZE)
        self.mean_over = mean_over(self.settings, BATCH_SIZE)
        self.ignore = self.settings.get("ignore")
        return [()]
