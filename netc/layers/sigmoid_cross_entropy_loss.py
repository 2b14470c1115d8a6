from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Run, Shape, count, format_shape, layer
from netc.layers.losses import BATCH_SIZE, Loss, ignored_label, normalization, normalizer

if TYPE_CHECKING:
    from torch import Tensor


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
    mode: int

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_batches(bottoms)
        if count(bottoms[0]) != count(bottoms[1]):
            listed = " and ".join(map(format_shape, bottoms))
            self.fail(f"its bottoms differ in size: {listed}", "bottom", code="L302")
        self.mode, self.ignore = normalization(self, BATCH_SIZE), ignored_label(self)
        return [()]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch.nn.functional as F

        x, ignore = bottoms[0], self.ignore
        targets = bottoms[1].detach().reshape(x.shape)
        losses = F.binary_cross_entropy_with_logits(x, targets, reduction="none")
        counted = None if ignore is None else targets.trunc() != ignore
        if counted is not None:
            losses = losses * counted
        return [
            losses.sum()
            / normalizer(self.mode, x.numel(), x.shape[0], counted, self.param.loss_param.pre_fixed_normalizer)
        ]
