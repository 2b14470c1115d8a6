from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, between, count, layer
from netc.layers.code import Code, Site
from netc.layers.losses import BATCH_SIZE, VALID, LabelLoss


@layer("SoftmaxWithLoss")
class SoftmaxWithLoss(LabelLoss):
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
    function = "softmax_loss"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if len(self.param.top) > 1:
            self.fail(
                "Caffe cannot build this layer with a second top",
                "top[1]",
                "take the probabilities from a Softmax layer",
            )
        self.read_labels(bottoms, self.param.softmax_param.axis, "softmax_param.axis")
        if self.options.weight_by_label_freqs:
            self.settings["weights"] = self._class_weights(bottoms[0][self.axis])
        return [()]

    def _class_weights(self, classes: int) -> list[float]:
        """SegNet's: a weight for the positions of each class."""
        weights = list(self.options.class_weighting)
        if len(weights) != classes:
            found = f"{len(weights)} class_weighting for {classes} classes"
            self.fail(found, "loss_param.class_weighting", "give one for each class", "L302")
        return weights

    def emit(self, site: Site) -> Code:
        if self._is_cross_entropy(site.shape):
            scores, labels = site.bottoms
            return Code(f"F.cross_entropy({scores}, {labels}{_as_indices(site)}.long())")
        return super().emit(site)

    def _is_cross_entropy(self, scores: Shape) -> bool:
        """Whether the mean over all positions is meant, of classes on axis 1."""
        mode = self.settings.get("normalization", VALID)
        whole = mode in ("full", VALID) or (mode == BATCH_SIZE and len(scores) == 2)
        return whole and self.settings.keys() <= {"normalization"} and count(scores) > 0


def _as_indices(site: Site) -> str:
    """What brings labels of any shape into torch's: that of the scores without the classes."""
    wanted = (site.shape[0], *site.shape[2:])
    if site.shapes[1] == wanted:
        return ""
    if len(wanted) == 1:
        return ".flatten()"
    if site.shapes[1] == (wanted[0], 1, *wanted[1:]):
        return ".squeeze(1)"
    return f".reshape(-1, {', '.join(f'{site.x}.shape[{axis}]' for axis in range(2, len(site.shape)))})"
