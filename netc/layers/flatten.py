from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, canonical_axis, count, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("Flatten")
class Flatten(Layer):
    """The axes `axis` … `end_axis` as one. Cannot work in place.

    Fields: `axis` (1), `end_axis` (-1). Shapes: (a, b, c, d) → (a, b·c·d). Errors: axes out of range or order.
    Source: flatten_layer.cpp.
    """

    passes = slice(None)
    in_place = False
    param_field = "flatten_param"
    kind = "join"
    keeps_values = keeps_zeros = keeps_rms = True

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        return [self._flat(bottoms[0])]

    def _flat(self, shape: Shape) -> Shape:
        start = canonical_axis(self, self.options.axis, shape, "flatten_param.axis")
        end = canonical_axis(self, self.options.end_axis, shape, "flatten_param.end_axis")
        if start > end + 1:
            self.fail(f"axis {start} comes after end_axis {end}", "flatten_param.end_axis")
        return (*shape[:start], count(shape, start, end + 1), *shape[end + 1 :])

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return [bottoms[0].reshape(self._flat(tuple(bottoms[0].shape)))]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        flat, start = self._flat(shapes[0]), self.options.axis % len(shapes[0])
        return [op.Reshape(x[0], op.ints([*[0] * start, -1, *flat[start + 1 :]]))]

    def emit(self, site: Site) -> Code:
        axes = len(site.shape)
        start, end = self.options.axis % axes, self.options.end_axis % axes
        if start > end:  # an empty range: an axis of size 1 in front of `start`
            return Code(f"{site.x}.unsqueeze({start})")
        if start == end:
            return Code(site.x)
        return Code(f"{site.x}.flatten({start})" if end == axes - 1 else f"{site.x}.flatten({start}, {end})")
