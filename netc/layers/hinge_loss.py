from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Run, Shape, count, format_shape, layer
from netc.layers.losses import Loss, check_range

if TYPE_CHECKING:
    from torch import Tensor


L1 = 1


@layer("HingeLoss")
class HingeLoss(Loss):
    """loss = 1/N Σ max(0, 1 - t x)^p over samples and classes, t = 1 for the labelled class and -1 for the others.

    Fields: `norm` L1 (p = 1, default) or L2 (p = 2). Shapes: (N, C), labels (N, …), of which the
    first N count → scalar. Errors: batch sizes that differ, a label outside the classes. Source: hinge_loss_layer.cpp.
    """

    param_field = "hinge_loss_param"
    takes = "scores"

    def class_count(self, bottoms: Sequence[Shape]) -> int | None:
        return count(bottoms[0], 1)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_batches(bottoms)
        return [()]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        scores = bottoms[0].flatten(1)
        labels = bottoms[1].detach().flatten()[: scores.shape[0], None].long()  # Caffe reads no more
        check_range(self, labels, scores.shape[1])
        signs = scores.new_ones(scores.shape).scatter(1, labels, -1.0)
        margins = (1 + signs * scores).relu()
        losses = margins if self.options.norm == L1 else margins.square()
        return [losses.sum() / scores.shape[0]]


@layer("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Loss):
    """loss = -1/N Σ log max(p[label], 1e-20) of probabilities p; the gradient is that of the cut value.

    Shapes: (N, C), labels (N) → scalar. Errors: label count, a label outside the classes.
    Source: multinomial_logistic_loss_layer.cpp.
    """

    takes = "probabilities"

    def class_count(self, bottoms: Sequence[Shape]) -> int | None:
        return count(bottoms[0], 1)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_batches(bottoms)
        if count(bottoms[1]) != bottoms[0][0]:
            listed = f"{format_shape(bottoms[1])} labels for {format_shape(bottoms[0])} probabilities"
            self.fail(f"needs one label a sample, found {listed}", "bottom[1]", code="L302")
        return [()]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.gradients import through

        p = bottoms[0].flatten(1)
        labels = bottoms[1].detach().reshape(-1, 1).long()
        check_range(self, labels, p.shape[1])
        chosen = p.gather(1, labels)
        return [-through(chosen, chosen.clamp(min=1e-20)).log().sum() / p.shape[0]]
