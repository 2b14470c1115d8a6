from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, count, exactly, format_shape, layer
from netc.layers.losses import Loss


@layer("ContrastiveLoss")
class ContrastiveLoss(Loss):
    """loss = 1/(2N) Σ y d² + (1 - y) max(margin - d, 0)² with d = |a - b| of each pair; y is 1 for similar pairs.

    legacy_version: the second term is max(margin - d², 0). The gradient of d is (a - b) / (d + 1e-4), as Caffe has
    it, and at the margin that of the second term is 0.
    Fields: `margin` (1), `legacy_version`. Shapes: (N, C), (N, C), labels (N) → scalar.
    Errors: bottoms that differ in N or C, or have a plane. Source: contrastive_loss_layer.cpp.
    """

    bottoms = exactly(3)
    no_gradient = (2,)
    force_backward_skips = (2,)
    param_field = "contrastive_loss_param"
    function = "contrastive_loss"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_batches(bottoms)
        a, b, labels = bottoms
        flat = all(count(shape, 2) == 1 for shape in (a, b)) and count(labels, 1) == 1
        if not flat or count(a, 1) != count(b, 1):
            listed = ", ".join(map(format_shape, bottoms))
            self.fail(f"needs (N, C), (N, C) and (N), found {listed}", "bottom", code="L302")
        self.settings = self.changed(margin="margin", legacy="legacy_version")
        return [()]
