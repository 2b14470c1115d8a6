from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, format_shape, layer
from netc.layers.code import Code, Site, call

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
    keeps_places = True
    kind = "normalisation"
    backward_reads_top = True

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if len(bottoms[0]) > 4:
            self.fail(f"takes up to 4 axes, found {format_shape(bottoms[0])}", "bottom", code="L302")
        return [(*bottoms[0], *[1] * (4 - len(bottoms[0])))]

    def is_local(self) -> bool:
        return False

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import normalisation

        settings = (self.options.across_channels, self.options.normalize_variance, self.options.eps)
        return [normalisation.mean_variance_normalize(bottoms[0], *settings)]

    def emit(self, site: Site) -> Code:
        settings = self.changed(across_channels="across_channels", variance="normalize_variance", eps="eps")
        return Code(call("mean_variance_normalize", site.x, **settings))
