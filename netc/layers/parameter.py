from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, ParamBlob, Run, Shape, exactly, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


@layer("Parameter")
class Parameter(Layer):
    """A top that is a learned parameter. It starts at 0, or as the weights loaded say.

    Fields: `parameter_param { shape }`. Shapes: none → shape. Source: parameter_layer.hpp.
    """

    bottoms = exactly(0)
    param_field = "parameter_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = tuple(self.options.shape.dim)
        self.blobs.append(ParamBlob("weight", shape))
        return [shape]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return [params[0]]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Identity(params[0])]

    def emit(self, site: Site) -> Code:
        return Code(f"{site.module}.weight", call("Parameter", *self.blobs[0].shape), starts={"weight": 0.0})
