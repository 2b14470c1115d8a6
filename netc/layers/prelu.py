from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, format_shape, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("PReLU")
class PReLU(Layer):
    """y = max(x, 0) + a · min(x, 0) with a learned slope a for each channel; at 0 the slope's side counts.

    Fields: `filler` (constant 0.25), `channel_shared` (one slope for all). Shapes: (N, C, …) → the same; slope (C), or
    scalar when shared. Errors: a bottom with fewer than 2 axes. Source: prelu_layer.cpp.
    """

    param_field = "prelu_param"
    keeps_places = True
    kind = "activation"
    keeps_zeros = keeps_positive = True
    starts = {"filler": 0.25}
    inline = True

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottoms[0]
        if len(shape) < 2:
            self.fail(f"needs a bottom of at least 2 axes, found {format_shape(shape)}", "bottom", code="L302")
        self.add_param("weight", () if self.options.channel_shared else (shape[1],), "prelu_param.filler")
        return [shape]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch.nn.functional as F

        return [F.prelu(bottoms[0], params[0].reshape(-1))]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        slope = [1] if self.options.channel_shared else [shapes[0][1], *[1] * (len(shapes[0]) - 2)]
        return [op.PRelu(x[0], op.Reshape(params[0], op.ints(slope)))]

    def emit(self, site: Site) -> Code:
        module = "SharedPReLU()" if self.options.channel_shared else f"nn.PReLU({site.shape[1]})"
        return Code(site.call(), module, starts={"weight": 0.25})
