from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, Window, canonical_axis, count, layer
from netc.layers.windows import Geometry, check_outputs, fitted, geometry

if TYPE_CHECKING:
    from torch import Tensor


@layer("Im2col")
class Im2col(Layer):
    """The window of each output pixel as a column of channels: what a convolution multiplies its weights with.

    Fields: the geometry and `axis` of convolution_param. Shapes: (N, C, H, W) → (N, C·kh·kw, H', W').
    Errors: as Convolution's geometry. Source: im2col_layer.cpp.
    """

    in_place = False
    param_field = "convolution_param"
    kind = "convolution"
    geometry: Geometry

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottoms[0]
        axis = canonical_axis(self, self.options.axis, shape, "convolution_param.axis")
        self.geometry = geometry(self, len(shape) - axis - 1)
        sizes = check_outputs(self, shape, shape[axis + 1 :], self.geometry)
        return [(*shape[:axis], shape[axis] * count(self.geometry.kernel), *sizes)]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch.nn.functional as F

        windows, x = self.geometry, fitted(bottoms[0], self.geometry)
        axes = len(windows.kernel)
        x = F.pad(x, [pad for size in reversed(windows.pad) for pad in (size, size)])
        first = x.dim() - axes
        for axis in range(axes):
            x = x.unfold(first + axis, windows.extent[axis], windows.stride[axis])[..., :: windows.dilation[axis]]
        outputs = x.shape[first : first + axes]
        order = (*range(first), *range(first + axes, x.dim()), *range(first, first + axes))
        return [x.permute(order).reshape(*x.shape[: first - 1], -1, *outputs)]

    def window(self) -> Window | None:
        return self.geometry.window()
