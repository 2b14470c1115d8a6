from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, canonical_axis, exactly, format_shape, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("Crop")
class Crop(Layer):
    """Bottom 0 cut to the size of bottom 1 on every axis from `axis` on.

    Fields: `axis` (2), `offset`: none (0), one for all cut axes, or one for each. Shapes: the axes before `axis` are
    bottom 0's, the others bottom 1's, whose axes beyond bottom 0's do not count.
    Errors: a cut beyond the end of bottom 0, number of offsets. Source: crop_layer.cpp.
    """

    passes = slice(1)
    bottoms = exactly(2)
    crops = True
    in_place = False
    param_field = "crop_param"
    kind = "join"
    keeps_zeros = keeps_rms = True
    axis: int
    offsets: list[int]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape, reference = bottoms
        self.axis = canonical_axis(self, self.options.axis, shape, "crop_param.axis")
        self.mixes_rows = self.axis == 0
        cut = len(shape) - self.axis
        if len(reference) < len(shape):
            listed = f"bottom 1 is {format_shape(reference)}, bottom 0 {format_shape(shape)}"
            self.fail(f"bottom 1 lacks axes of bottom 0: {listed}", "bottom[1]", code="L302")
        if len(self.options.offset) not in (0, 1, cut):
            self.fail(
                f"{len(self.options.offset)} offsets for {cut} axes from axis {self.axis} on",
                "crop_param.offset",
                "give none, one for all, or one for each",
            )
        self.offsets = list(self.options.offset) or [0]
        if len(self.offsets) < cut:
            self.offsets *= cut
        for axis, offset in enumerate(self.offsets, self.axis):
            if offset + reference[axis] > shape[axis]:
                self.fail(
                    f"{reference[axis]} from {offset} on do not fit the {shape[axis]} of bottom 0 on axis {axis}",
                    "crop_param",
                    code="L302",
                )
        return [(*shape[: self.axis], *reference[self.axis : len(shape)])]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x, reference = bottoms
        for axis, offset in enumerate(self.offsets, self.axis):
            x = x.narrow(axis, offset, reference.shape[axis])
        return [x]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        axes = range(self.axis, len(shapes[0]))
        if self.axis == 0:
            return None  # the batch
        sizes = op.Shape(x[1], start=self.axis, end=len(shapes[0]))
        offsets = op.ints(self.offsets)
        return [op.Slice(x[0], offsets, op.Add(sizes, offsets), op.ints(axes))]

    def emit(self, site: Site) -> Code:
        x, reference = site.bottoms
        parts = [":"] * self.axis
        for axis, offset in enumerate(self.offsets, self.axis):
            size = f"{reference}.shape[{axis}]"
            parts.append(f"{offset} : {offset} + {size}" if offset else f": {size}")
        return Code(f"{x}[{', '.join(parts)}]")
