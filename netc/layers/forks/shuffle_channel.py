from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, format_shape, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("ShuffleChannel")
class ShuffleChannel(Layer):
    """Channel i of group g becomes channel i · group + g: each group of the next layer sees all groups of this one.

    Fields: `group` (1). Shapes: (N, C, …) → the same. Errors: a group that does not divide the channels.
    Source: ShuffleNet (Zhang et al., 2017), section 3.1; shuffle_channel_layer.cpp of farmingyard/ShuffleNet.
    """

    fork = "ShuffleNet (farmingyard/ShuffleNet)"
    param_field = "shuffle_channel_param"
    kind = "join"
    keeps_zeros = keeps_rms = True
    in_place = False

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape, group = bottoms[0], self.options.group
        if len(shape) < 2:
            self.fail(f"needs a bottom with channels (N, C, …), found {format_shape(shape)}", "bottom", code="L302")
        if group < 1 or shape[1] % group:
            field = "shuffle_channel_param.group"
            self.fail(f"group {group} does not divide the bottom's {shape[1]} channels", field, code="L302")
        return [shape]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x = bottoms[0]
        return [x.unflatten(1, (self.options.group, -1)).transpose(1, 2).flatten(1, 2).contiguous()]

    def emit(self, site: Site) -> Code:
        split = f"unflatten(1, ({self.options.group}, -1))"
        return Code(f"{site.x}.{split}.transpose(1, 2).flatten(1, 2).contiguous()")
