from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, between, canonical_axis, exactly, layer
from netc.layers.code import Code, Site, call
from netc.layers.facts import LABELS
from netc.layers.losses import check_label_count, check_labels

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

    is_measure = True
    bottoms = exactly(2)
    tops = between(1, 2)
    no_gradient = None
    in_place = False
    param_field = "accuracy_param"
    kind = "measure"
    axis: int
    settings: dict[str, Any]
    per_class: bool

    def summary(self) -> str | None:
        return f"top {self.options.top_k}" if self.options.top_k != 1 else ""

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        scores, labels = bottoms
        self.axis = self.class_axis = canonical_axis(self, self.options.axis, scores, "accuracy_param.axis")
        self.mixes_rows = self.axis == 0
        self.settings = self.changed(top_k="top_k") | ({} if self.axis == 1 else {"dim": self.axis})
        if self.options.HasField("ignore_label"):
            self.ignore = self.settings["ignore"] = self.options.ignore_label
            self.mean_over = LABELS
        self.per_class = len(self.param.top) > 1
        check_label_count(self, scores, labels, self.axis)
        classes = scores[self.axis]
        if self.options.top_k > classes:
            self.fail(f"top_k {self.options.top_k} exceeds the {classes} classes", "accuracy_param.top_k", code="L302")
        return [(), (scores[self.axis],)][: 1 + self.per_class]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.scores import accuracy, accuracy_with_classes

        scores, labels = bottoms
        try:
            if self.per_class:
                return accuracy_with_classes(scores, labels, **self.settings)
            return [accuracy(scores, labels, **self.settings)]
        except (IndexError, RuntimeError):  # on a CPU torch looks at every index anyway
            check_labels(self, labels, scores.shape[self.axis], self.settings.get("ignore"))
            raise

    def emit(self, site: Site) -> Code:
        function = "accuracy_with_classes" if self.per_class else "accuracy"
        return Code(call(function, *site.bottoms, **self.settings), together=self.per_class)
