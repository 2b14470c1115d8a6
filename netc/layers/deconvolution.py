from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Run, Shape, count, format_shape, layer
from netc.layers.convolution import SpatialWeights, first_axis, inner_axes

if TYPE_CHECKING:
    from torch import Tensor

    from netc.layers.windows import Geometry


@layer("Deconvolution")
class Deconvolution(SpatialWeights):
    """The transpose of Convolution: each input value adds its kernel, scaled, to the output.

    Fields: those of Convolution. Shapes: (N, C, H, W) → (N, num_output, s(H - 1) + d(k - 1) + 1 - 2p, …).
    Weight (C, num_output / group, kh, kw), bias (num_output).
    Errors: as Convolution; pad that leaves nothing. Source: deconv_layer.cpp, base_conv_layer.cpp.
    """

    keeps_zeros = transposed = True

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
        axis = x.dim() - len(self.geometry.kernel) - 1
        flat = x if axis == 1 else x.reshape(-1, *x.shape[axis:])
        y = deconvolve(flat, weight, bias, self.geometry, self.options.group)
        return y if axis == 1 else y.reshape(*x.shape[:axis], *y.shape[1:])

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return sum(count(bottom) for bottom in bottoms) * count(self.blobs[0].shape, 1)


def deconvolve(x: Tensor, weight: Tensor, bias: Tensor | None, windows: Geometry, group: int) -> Tensor:
    """Transposed convolution of (N, C, …) over as many axes as the geometry has."""
    import torch.nn.functional as F

    axes = len(windows.kernel)
    if axes == 0:
        return F.conv_transpose1d(x[..., None], weight[..., None], bias, groups=group)[..., 0]
    if axes > 3:
        return _spread(x, weight, bias, windows, group)
    call = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    return call(x, weight, bias, windows.stride, windows.pad, 0, group, windows.dilation)


def _spread(x: Tensor, weight: Tensor, bias: Tensor | None, windows: Geometry, group: int) -> Tensor:
    """More than three axes: the first one is walked tap by tap, the others are its batch; each tap's rows are added
    where they belong, and the padding is cut off."""
    (stride, pad, step), inner = first_axis(windows), inner_axes(windows)
    rows, taps = x.shape[2], weight.shape[2]
    flat = x.movedim(2, 1).reshape(-1, *x.shape[1:2], *x.shape[3:])
    total: Tensor | None = None
    for tap in range(taps):
        part = deconvolve(flat, weight[:, :, tap], None, inner, group)
        part = part.reshape(x.shape[0], rows, *part.shape[1:]).movedim(1, 2)
        if total is None:
            length = stride * (rows - 1) + step * (taps - 1) + 1
            total = part.new_zeros(*part.shape[:2], length, *part.shape[3:])
        start = tap * step
        places = slice(start, start + stride * (rows - 1) + 1, stride)
        padded = total.new_zeros(total.shape)
        padded[:, :, places] = part
        total = total + padded
    assert total is not None
    total = total[:, :, pad : total.shape[2] - pad]
    return total if bias is None else total + bias.view(-1, *[1] * (total.dim() - 2))
