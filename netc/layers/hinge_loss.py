from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Shape, count, format_shape, layer
from netc.layers.losses import Loss, check_labels

if TYPE_CHECKING:
    from torch import Tensor


@layer("HingeLoss")
class HingeLoss(Loss):
    """loss = 1/N Σ max(0, 1 - t x)^p over samples and classes, t = 1 for the labelled class and -1 for the others.

    Fields: `norm` L1 (p = 1, default) or L2 (p = 2). Shapes: (N, C), labels (N, …), of which the
    first N count → scalar. Errors: batch sizes that differ, a label outside the classes. Source: hinge_loss_layer.cpp.
    """

    param_field = "hinge_loss_param"
    takes = "scores"
    function = "hinge_loss"

    def class_count(self, bottoms: Sequence[Shape]) -> int | None:
        return count(bottoms[0], 1)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_batches(bottoms)
        self.settings = self.changed(norm="norm")
        return [()]

    def explain(self, bottoms: Sequence[Tensor]) -> None:
        scores, labels = bottoms
        check_labels(self, labels.flatten()[: len(scores)], count(scores.shape, 1))


@layer("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Loss):
    """loss = -1/N Σ log max(p[label], 1e-20) of probabilities p; the gradient is that of the cut value.

    Shapes: (N, C), labels (N) → scalar. Errors: label count, a label outside the classes.
    Source: multinomial_logistic_loss_layer.cpp.
    """

    takes = "probabilities"
    function = "multinomial_logistic_loss"
    settings = {}

    def class_count(self, bottoms: Sequence[Shape]) -> int | None:
        return count(bottoms[0], 1)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_batches(bottoms)
        if count(bottoms[1]) != bottoms[0][0]:
            listed = f"{format_shape(bottoms[1])} labels for {format_shape(bottoms[0])} probabilities"
            self.fail(f"needs one label a sample, found {listed}", "bottom[1]", code="L302")
        return [()]

    def explain(self, bottoms: Sequence[Tensor]) -> None:
        check_labels(self, bottoms[1], count(bottoms[0].shape, 1))
