from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, count, format_shape, layer

if TYPE_CHECKING:
    from torch import Tensor


@layer("MVN")
class MVN(Layer):
    """y = (x - mean) / (sqrt(variance) + eps) over each plane, or over each sample with across_channels.

    The gradient is Caffe's, (g - mean(g) - y · mean(g · y)) / (sqrt(variance) + eps): the true one up to eps.
    Fields: `normalize_variance` (true; else y = x - mean), `across_channels` (false), `eps` (1e-9).
    Shapes: up to 4 axes → always 4, with 1 for the missing ones. Errors: more than 4 axes. Source: mvn_layer.cpp.
    """

    param_field = "mvn_param"
    kind = "normalisation"
    backward_reads_top = True

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if len(bottoms[0]) > 4:
            self.fail(f"takes up to 4 axes, found {format_shape(bottoms[0])}", "bottom", code="L302")
        return [_four_axes(bottoms[0])]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.gradients import normalised

        shape = _four_axes(tuple(bottoms[0].shape))
        groups = shape[0] if self.options.across_channels else shape[0] * shape[1]
        rows = bottoms[0].reshape(groups, count(shape) // max(groups, 1))
        if self.options.normalize_variance:
            return [normalised(rows, self.options.eps).view(shape)]
        return [(rows - rows.mean(1, keepdim=True)).view(shape)]


def _four_axes(shape: Shape) -> Shape:
    return (*shape, *[1] * (4 - len(shape)))
