from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, format_shape, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


@layer("Normalize")
class Normalize(Layer):
    """y = scale · x / sqrt(Σ x² + eps), the sum over all values of an image, or over the channels of each position.

    Fields: `norm_param { across_spatial (true), channel_shared (true), scale_filler (constant 1), eps (1e-10) }`:
    one norm for an image or one for each position; one scale for all channels or one each.
    Shapes: (N, C, …) → the same; weight () or (C). Errors: a bottom without channels.
    Source: ParseNet (Liu et al., 2015), section 3.3; normalize_layer.cpp of weiliu89/caffe.
    """

    fork = "SSD (weiliu89/caffe)"
    param_field = "norm_param"
    kind = "normalisation"
    starts = {"scale_filler": 1.0}

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottoms[0]
        if len(shape) < 2:
            self.fail(f"needs a bottom with channels (N, C, …), found {format_shape(shape)}", "bottom", code="L302")
        self.add_param("weight", () if self.options.channel_shared else (shape[1],), "norm_param.scale_filler")
        return [shape]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.fork_normalisation import length_normalised

        return [length_normalised(bottoms[0], params[0], self.options.eps, self.options.across_spatial)]

    def emit(self, site: Site) -> Code:
        channels = [] if self.options.channel_shared else [site.shape[1]]
        settings = self.changed(eps="eps", across_spatial="across_spatial")
        return Code(site.call(), module=call("Normalize", *channels, **settings))
