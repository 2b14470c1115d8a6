from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, Window, canonical_axis, count, layer
from netc.layers.code import Code, Site, call, literal
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
        from netc.layers.functions import convolution

        windows = self.geometry
        return [convolution.im2col(convolution.at_least(bottoms[0], windows.least), windows.kernel, *windows.steps)]

    def emit(self, site: Site) -> Code:
        sizes = (literal(size) for size in (self.geometry.kernel, *self.geometry.steps))
        return Code(call("im2col", fitted(site.x, site.shape, self.geometry), *sizes))

    def window(self) -> Window | None:
        return self.geometry.window()
