from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, check_planes, format_shape, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


@layer("Reorg")
class Reorg(Layer):
    """Turns blocks of s × s positions into s² times the channels, as YOLO v2 does for its finer feature map.

    The values go where darknet puts them, which is not a plain space-to-depth: the bottom's memory is taken for an
    array (C / s², s·H, s·W), whose position (c, s·h + i, s·w + j) becomes channel c + (s·i + j) · C / s² at (h, w) of
    an array (C, H, W), and that memory is given out as (s²·C, H / s, W / s). `reverse` undoes it for equal settings of
    shape: (C, H, W) is spread to (C / s², s·H, s·W).
    Fields: `stride` (required), `reverse` (false). Shapes: (N, C, H, W) → (N, s²·C, H / s, W / s), or with reverse
    (N, C / s², s·H, s·W). Errors: H or W not divisible by s; C not by s². Source: YOLO9000 (Redmon, Farhadi, 2016),
    section 3; reorg_layer.cpp of eric612/MobileNet-YOLO.
    """

    fork = "MobileNet-YOLO (eric612)"
    param_field = "reorg_param"
    in_place = False

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape, s = bottoms[0], self.options.stride
        check_planes(self, shape)
        if s < 1:
            self.fail("needs a stride of at least 1", "reorg_param.stride", "add `stride: 2`")
        self._check(shape, s)
        return [self._top(shape)]

    def _check(self, shape: Shape, s: int) -> None:
        _, channels, height, width = shape
        if channels % (s * s):
            found = f"{channels} channels are not divisible by stride² {s * s}"
            self.fail(found, "reorg_param.stride", code="L302")
        if not self.options.reverse and (height % s or width % s):
            found = f"the bottom, {format_shape(shape)}, is not divisible by the stride {s}"
            self.fail(found, "reorg_param.stride", code="L302")

    def _top(self, shape: Shape) -> Shape:
        (n, channels, height, width), s = shape, self.options.stride
        if self.options.reverse:
            return (n, channels // (s * s), height * s, width * s)
        return (n, channels * s * s, height // s, width // s)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.rearranging import reorg

        return [reorg(bottoms[0], self.options.stride, self.options.reverse)]

    def emit(self, site: Site) -> Code:
        return Code(call("reorg", site.x, self.options.stride, **self.changed(reverse="reverse")))
