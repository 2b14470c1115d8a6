from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, format_shape, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("Permute")
class Permute(Layer):
    """The bottom with its axes in another order: those of `order` first, then the rest in their old order.

    Fields: `order` (none). Shapes: (d0, d1, …) → (d_order0, d_order1, …). Errors: an axis that the bottom does not
    have, or one given twice. Source: SSD (Liu et al., 2016), section 2; permute_layer.cpp of weiliu89/caffe.
    """

    passes = slice(None)
    fork = "SSD (weiliu89/caffe)"
    param_field = "permute_param"
    kind = "join"
    keeps_zeros = keeps_rms = True
    in_place = False
    order: list[int]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape, order = bottoms[0], list(self.options.order)
        for place, axis in enumerate(order):
            field = f"permute_param.order[{place}]"
            if axis >= len(shape):
                self.fail(f"axis {axis} does not exist: the bottom is {format_shape(shape)}", field, code="L302")
            if axis in order[:place]:
                self.fail(f"axis {axis} is given twice", field, "give each axis once")
        self.order = order
        every = self._all(len(shape))
        self.mixes_rows = every[:1] != [0]
        return [tuple(shape[axis] for axis in every)]

    def _all(self, axes: int) -> list[int]:
        return self.order + [axis for axis in range(axes) if axis not in self.order]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return [bottoms[0].permute(self._all(bottoms[0].dim())).contiguous()]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Transpose(x[0], perm=self._all(len(shapes[0])))]

    def emit(self, site: Site) -> Code:
        return Code(f"{site.x}.permute({', '.join(map(str, self._all(len(site.shape))))}).contiguous()")
