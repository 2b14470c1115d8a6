from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, between, canonical_axis, layer
from netc.layers.losses import (
    VALID,
    Loss,
    check_label_count,
    class_indices,
    ignored_label,
    normalization,
    normalizer,
    poisoned,
)

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = -math.log(2.0**-126)
"""-log(FLT_MIN): what a probability of 0 costs."""


@layer("SoftmaxWithLoss")
class SoftmaxWithLoss(Loss):
    """loss = -1/M Σ log softmax(x)[label], the sum over all positions whose label is not ignore_label.

    M by `loss_param.normalization`: VALID (default) the positions that count, FULL all positions, BATCH_SIZE N, NONE 1;
    at least 1. `normalize`, the older field: true is VALID, false BATCH_SIZE. Each term is at most -log(FLT_MIN), 87.3;
    the gradient (softmax(x) - onehot) · loss_weight / M is not cut. SegNet's `weight_by_label_freqs` multiplies each
    term by the `class_weighting` of its label, Intel's `normalization: PRE_FIXED` divides by `pre_fixed_normalizer`.
    Fields: `loss_param`, `softmax_param.axis` (1). Shapes: (N, C, …), labels for every position → scalar. Errors: label
    count, a label outside the classes, a second top (it cannot be built in Caffe either).
    Source: softmax_loss_layer.cpp.
    """

    tops = between(1, 2)
    param_field = "loss_param"
    takes = "scores"
    contains = "Softmax"
    axis: int
    mode: int
    weights: list[float] | None

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if len(self.param.top) > 1:
            self.fail(
                "Caffe cannot build this layer with a second top",
                "top[1]",
                "take the probabilities from a Softmax layer",
            )
        self.check_batches(bottoms)
        self.axis = canonical_axis(self, self.param.softmax_param.axis, bottoms[0], "softmax_param.axis")
        self.class_axis = self.axis
        self.mode, self.ignore = normalization(self, VALID), ignored_label(self)
        check_label_count(self, bottoms[0], bottoms[1], self.axis)
        self.weights = self._class_weights(bottoms[0][self.axis])
        return [()]

    def _class_weights(self, classes: int) -> list[float] | None:
        """SegNet's: a weight for the positions of each class."""
        weights = list(self.options.class_weighting) if self.options.weight_by_label_freqs else None
        if weights is not None and len(weights) != classes:
            found = f"{len(weights)} class_weighting for {classes} classes"
            self.fail(found, "loss_param.class_weighting", "give one for each class", "L302")
        return weights

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        scores, labels = bottoms
        loss, counted = position_losses(self, scores, labels, self.axis, self.ignore)
        if self.weights is not None:
            index = labels.detach().reshape(loss.shape).long().clamp(0, scores.shape[self.axis] - 1)
            loss = loss * scores.new_tensor(self.weights)[index]
        fixed = self.options.pre_fixed_normalizer
        return [loss.sum() / normalizer(self.mode, loss.numel(), scores.shape[0], counted, fixed)]


def position_losses(
    layer: Layer, scores: Tensor, labels: Tensor, axis: int, ignore: int | None
) -> tuple[Tensor, Tensor | None]:
    """(-log of the probability of each position's label, 0 where it is ignored; the positions that count)."""
    index, counted = class_indices(layer, labels, scores, axis, ignore)
    index, outside = poisoned(index, scores.shape[axis])
    loss = _capped(-scores.log_softmax(axis).gather(axis, index))
    if outside is not None:
        loss = loss.masked_fill(outside, math.nan)
    return (loss if counted is None else loss * counted), counted


def _capped(loss: Tensor) -> Tensor:
    """The values cut at -log(FLT_MIN), the gradient left as it is."""
    from netc.layers.functions.gradients import through

    return through(loss, loss.clamp(max=LARGEST))
