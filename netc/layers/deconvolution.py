from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Run, Shape, count, format_shape, layer
from netc.layers.convolution import SpatialWeights

if TYPE_CHECKING:
    from torch import Tensor


@layer("Deconvolution")
class Deconvolution(SpatialWeights):
    """The transpose of Convolution: each input value adds its kernel, scaled, to the output.

    Fields: those of Convolution. Shapes: (N, C, H, W) → (N, num_output, s(H - 1) + d(k - 1) + 1 - 2p, …).
    Weight (C, num_output / group, kh, kw), bias (num_output).
    Errors: as Convolution; pad that leaves nothing. Source: deconv_layer.cpp, base_conv_layer.cpp.
    """

    keeps_zeros = transposed = True
    spatial = "nn.ConvTranspose"
    pointwise = "TransposedLinear"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        axis, shape = self.check_bottoms(bottoms), bottoms[0]
        sizes = self._outputs(shape[axis + 1 :])
        if any(size < 1 for size in sizes):
            made = format_shape(shape[axis + 1 :])
            self.fail(f"its pad leaves nothing of an output from {made}", "convolution_param.pad", code="L302")
        self.learn_weights((shape[axis], self.options.num_output // self.options.group, *self.geometry.kernel))
        return [(*shape[:axis], self.options.num_output, *sizes)] * len(bottoms)

    def _outputs(self, sizes: Shape) -> Shape:
        windows = self.geometry
        rows = zip(sizes, windows.stride, windows.extent, windows.pad, strict=True)
        return tuple(stride * (size - 1) + extent - 2 * pad for size, stride, extent, pad in rows)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        weight, bias = params[0], params[1] if len(params) > 1 else None
        return [self._deconvolve(x, weight, bias) for x in bottoms]

    def _deconvolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        from netc.layers.functions import convolution

        axis = x.dim() - len(self.geometry.kernel) - 1
        flat = x if axis == 1 else x.reshape(-1, *x.shape[axis:])
        y = convolution.deconvolve(flat, weight, bias, self.options.group, *self.geometry.steps)
        return y if axis == 1 else y.reshape(*x.shape[:axis], *y.shape[1:])

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return sum(count(bottom) for bottom in bottoms) * count(self.blobs[0].shape, 1)
