from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, format_shape, layer

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
        if len(bottoms[0]) != 4:
            self.fail(f"needs a bottom of 4 axes (N, C, H, W), found {format_shape(bottoms[0])}", "bottom", code="L302")
        return [bottoms[0]]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x, options = bottoms[0], self.options
        if options.norm_region == ACROSS_CHANNELS:
            return [x * (options.k + options.alpha / options.local_size * self._channel_sum(x * x)) ** -options.beta]
        return [x * (1 + options.alpha * self._area_mean(x * x)) ** -options.beta]

    def _channel_sum(self, squares: Tensor) -> Tensor:
        """Sum over n channels, zeros before the first and behind the last: n shifted copies (pooling takes longer)."""
        import torch.nn.functional as F

        size, channels = self.options.local_size, squares.shape[1]
        padded = F.pad(squares, (0, 0, 0, 0, size // 2, size // 2))
        total = padded.narrow(1, 0, channels)
        for shift in range(1, size):
            total = total + padded.narrow(1, shift, channels)
        return total

    def _area_mean(self, squares: Tensor) -> Tensor:
        import torch.nn.functional as F

        size = self.options.local_size
        return F.avg_pool2d(squares, size, 1, size // 2)
