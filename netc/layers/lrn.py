from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, check_planes, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor

ACROSS_CHANNELS = 0


@layer("LRN")
class LRN(Layer):
    """Local response normalisation over n = local_size neighbours.

    ACROSS_CHANNELS: y = x / (k + alpha / n · Σ x²)^beta over n channels.
    WITHIN_CHANNEL: y = x / (1 + alpha / n² · Σ x²)^beta over n × n pixels, zeros around the image; k is not used.
    Fields: `local_size` (5), `alpha` (1), `beta` (0.75), `k` (1), `norm_region`. Shapes: (N, C, H, W) → the same.
    Errors: even local_size, a bottom without 4 axes. Source: lrn_layer.cpp.
    """

    param_field = "lrn_param"
    keeps_places = True
    kind = "normalisation"
    keeps_zeros = True

    def summary(self) -> str | None:
        o = self.options
        within = " within channel" if o.norm_region != ACROSS_CHANNELS else ""
        return f"n{o.local_size} α{o.alpha:g} β{o.beta:g}{within}"

    def rms(self, bottom: float, *others: float | None) -> float | None:
        o = self.options
        return float(bottom * (o.k + o.alpha * bottom**2) ** -o.beta)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        size = self.options.local_size
        if size % 2 == 0:
            self.fail(
                f"local_size {size} is even: the window has no centre", "lrn_param.local_size", f"take {size + 1}"
            )
        check_planes(self, bottoms[0])
        return [bottoms[0]]

    def is_local(self) -> bool:
        return bool(self.options.norm_region == ACROSS_CHANNELS)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import normalisation

        size, alpha, beta = self.options.local_size, self.options.alpha, self.options.beta
        if self.options.norm_region == ACROSS_CHANNELS:
            return [normalisation.lrn_across_channels(bottoms[0], size, alpha, beta, self.options.k)]
        return [normalisation.lrn_within_channel(bottoms[0], size, alpha, beta)]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        o = self.options
        if o.norm_region == ACROSS_CHANNELS:
            return [self._across_in_onnx(op, x[0])]
        size, edge = o.local_size, o.local_size // 2
        settings = {"kernel_shape": [size, size], "strides": [1, 1], "pads": [edge] * 4, "count_include_pad": 1}
        total = op.Mul(op.AveragePool(op.Mul(x[0], x[0]), **settings), op.numbers(o.alpha))
        return [op.Mul(x[0], op.Pow(op.Add(total, op.numbers(1.0)), op.numbers(-o.beta)))]

    def _across_in_onnx(self, op: Any, x: Any) -> Any:
        """With a k that is a whole number, for OpenVINO cuts others down to one: k comes out of the power."""
        o = self.options
        if o.k <= 0 or o.k.is_integer():
            return op.LRN(x, size=o.local_size, alpha=o.alpha, beta=o.beta, bias=o.k)
        y = op.LRN(x, size=o.local_size, alpha=o.alpha / o.k, beta=o.beta, bias=1.0)
        return op.Mul(y, op.numbers(o.k**-o.beta))

    def emit(self, site: Site) -> Code:
        across = self.options.norm_region == ACROSS_CHANNELS
        settings = {"alpha": self.options.alpha, "beta": self.options.beta} | (self.changed(k="k") if across else {})
        function = "F.local_response_norm" if across else "lrn_within_channel"
        return Code(call(function, site.x, self.options.local_size, **settings))
