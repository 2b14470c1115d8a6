from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, canonical_axis, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("Softmax")
class Softmax(Layer):
    """y = exp(x) / Σ exp(x) along `axis` (1).

    Shapes: any → the same. Errors: axis out of range. Source: softmax_layer.cpp.
    """

    each_place = True
    param_field = "softmax_param"
    kind = "measure"
    axis: int

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.axis = canonical_axis(self, self.options.axis, bottoms[0], "softmax_param.axis")
        self.mixes_rows = self.axis == 0
        return [bottoms[0]]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return [bottoms[0].softmax(self.axis)]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Softmax(x[0], axis=self.axis)]

    def emit(self, site: Site) -> Code:
        return Code(f"torch.softmax({site.x}, dim={self.axis})")
