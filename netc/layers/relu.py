from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, layer
from netc.layers.code import Code, Site, number

if TYPE_CHECKING:
    from torch import Tensor


@layer("ReLU")
class ReLU(Layer):
    """y = max(x, 0) + negative_slope · min(x, 0).

    The gradient at 0 is negative_slope. Where the layer works in place, the gate is the sign of its output (this only
    matters for a negative slope). Fields: `negative_slope` (0). Shapes: any → the same. Source: relu_layer.cpp.
    """

    param_field = "relu_param"
    keeps_places = True
    inline = True
    kind = "activation"
    keeps_zeros = keeps_positive = True
    gated_by_output: bool

    def takes_any_form(self) -> bool:
        return True

    def dead_at_zero(self) -> bool:
        return bool(self.options.negative_slope == 0)

    def rms(self, bottom: float, *others: float | None) -> float | None:
        return float(bottom * ((1 + self.options.negative_slope**2) / 2) ** 0.5)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.gated_by_output = self.options.negative_slope < 0 and list(self.param.top) == list(self.param.bottom)
        return [bottoms[0]]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch.nn.functional as F

        x, slope = bottoms[0], self.options.negative_slope
        if slope == 0:
            return [F.relu(x)]
        y = F.leaky_relu(x, slope)
        return [_gated(x, y, slope) if self.gated_by_output else y]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        slope = self.options.negative_slope
        return [op.LeakyRelu(x[0], alpha=slope) if slope else op.Relu(x[0])]

    def emit(self, site: Site) -> Code:
        slope = self.options.negative_slope
        return Code(f"F.leaky_relu({site.x}, {number(slope)})" if slope else f"F.relu({site.x})")

    def forward_in_place(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        """The same, over the bottom's own memory: for bottoms that nothing else needs."""
        import torch.nn.functional as F

        slope = self.options.negative_slope
        if slope < 0:
            return self.forward(run, bottoms, params)
        return [F.leaky_relu(bottoms[0], slope, inplace=True) if slope else F.relu(bottoms[0], inplace=True)]


def _gated(x: Tensor, y: Tensor, slope: float) -> Tensor:
    """`y` with the gradient of a ReLU whose output is positive where `y` is."""
    import torch

    from netc.layers.functions.gradients import elementwise

    one = torch.ones_like(y)
    return elementwise(x, y, torch.where(y > 0, one, slope * one))
