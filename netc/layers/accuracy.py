from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, between, canonical_axis, exactly, layer
from netc.layers.losses import check_label_count, class_indices, poisoned

if TYPE_CHECKING:
    from torch import Tensor


@layer("Accuracy")
class Accuracy(Layer):
    """The share of positions whose true class is among the top_k scores.

    A position is right if fewer than top_k other classes have a score at least as high as the true class: a tie counts
    against, and so does NaN (Caffe takes NaN as right). Positions with `ignore_label` do not count; with none left the
    accuracy is 0.
    Fields: `top_k` (1), `axis` (1), `ignore_label`. Shapes: (N, C, …), labels → scalar, and with a second top (C): the
    accuracy of each class, 0 where it does not occur. Errors: top_k > C, label count, a label outside the classes.
    Source: accuracy_layer.cpp.
    """

    bottoms = exactly(2)
    tops = between(1, 2)
    no_gradient = None
    in_place = False
    param_field = "accuracy_param"
    kind = "measure"
    axis: int
    per_class: bool

    def summary(self) -> str | None:
        return f"top {self.options.top_k}" if self.options.top_k != 1 else ""

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        scores, labels = bottoms
        self.axis = self.class_axis = canonical_axis(self, self.options.axis, scores, "accuracy_param.axis")
        self.ignore = self.options.ignore_label if self.options.HasField("ignore_label") else None
        self.per_class = len(self.param.top) > 1
        check_label_count(self, scores, labels, self.axis)
        classes = scores[self.axis]
        if self.options.top_k > classes:
            self.fail(f"top_k {self.options.top_k} exceeds the {classes} classes", "accuracy_param.top_k", code="L302")
        return [(), (scores[self.axis],)][: 1 + self.per_class]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        scores = bottoms[0]
        labels, counted = class_indices(self, bottoms[1], scores, self.axis, self.ignore)
        index, outside = poisoned(labels, scores.shape[self.axis])
        not_below = ~(scores < scores.gather(self.axis, index))
        right = not_below.sum(self.axis, keepdim=True) <= self.options.top_k
        right = right if outside is None else right & ~outside
        counts = right.new_ones(right.shape) if counted is None else counted
        right = right & counts
        tops = [_ratio(right.sum(), counts.sum(), scores)]
        return [*tops, self._by_class(right, counts, index, scores)] if self.per_class else tops

    def _by_class(self, right: Tensor, counts: Tensor, index: Tensor, scores: Tensor) -> Tensor:
        zeros = index.new_zeros(scores.shape[self.axis])
        hits = zeros.scatter_add(0, index.flatten(), right.flatten().long())
        return _ratio(hits, zeros.scatter_add(0, index.flatten(), counts.flatten().long()), scores)


def _ratio(part: Tensor, whole: Tensor, like: Tensor) -> Tensor:
    return part.to(like.dtype) / whole.clamp(min=1).to(like.dtype)
