from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, canonical_axis, count, format_shape, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


@layer("ArgMax")
class ArgMax(Layer):
    """The positions (or values) of the top_k largest scores, the largest first; of equal scores the later comes first.

    Fields: `top_k` (1), `axis`, `out_max_val`. Shapes: as follows.
    Without `axis` all axes but the first are one: (N, …) → (N, 1, top_k, 1 …), and with out_max_val (N, 2, top_k, 1 …),
    positions then values; the top has at least three axes.
    With `axis`: that axis gets the size top_k and holds positions, or with out_max_val values only.
    Errors: top_k 0 or more than there are. No gradient. Source: argmax_layer.cpp.
    """

    in_place = False
    no_gradient = None
    param_field = "argmax_param"
    kind = "measure"
    axis: int | None

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape, top_k = bottoms[0], self.options.top_k
        self.axis = axis = self._given_axis(shape)
        self.mixes_rows = axis == 0
        if not shape:
            self.fail("needs a bottom with at least one axis", "bottom", code="L302")
        size = count(shape, 1) if axis is None else shape[axis]
        if not 1 <= top_k <= size:
            self.fail(
                f"top_k {top_k} of {size} values (bottom {format_shape(shape)})", "argmax_param.top_k", code="L302"
            )
        if axis is not None:
            return [(*shape[:axis], top_k, *shape[axis + 1 :])]
        return [self._flat_top(shape)]

    def _given_axis(self, shape: Shape) -> int | None:
        if not self.options.HasField("axis"):
            return None
        return canonical_axis(self, self.options.axis, shape, "argmax_param.axis")

    def _flat_top(self, shape: Shape) -> Shape:
        planes = 2 if self.options.out_max_val else 1
        return (shape[0], planes, self.options.top_k, *[1] * (len(shape) - 3))

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import choices

        return [choices.argmax(bottoms[0], self.options.top_k, self.axis, self.options.out_max_val)]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        """Not for an engine: whose scores differ in the last bit may choose another of two that are about equal."""
        if not op.program:
            return None
        axis = 1 if self.axis is None else self.axis
        scores = op.Flatten(x[0], axis=1) if self.axis is None else x[0]
        # TopK puts the first of equal scores first: from behind that is Caffe's
        turned = op.Slice(scores, op.ints([-1]), op.ints([-(1 << 31)]), op.ints([axis]), op.ints([-1]))
        best, order = op.TopK(turned, op.ints([self.options.top_k]), axis=axis)
        last = op.Sub(op.Shape(scores, start=axis, end=axis + 1), op.ints([1]))
        places = op.Cast(op.Sub(last, order), to=1)
        if self.axis is not None:
            return [best if self.options.out_max_val else places]
        planes = [op.Unsqueeze(plane, op.ints([1])) for plane in [places, *[best] * self.options.out_max_val]]
        joined = op.Concat(*planes, axis=1)
        behind = range(3, len(shapes[0]))
        return [op.Unsqueeze(joined, op.ints(behind)) if behind else joined]

    def emit(self, site: Site) -> Code:
        settings = {} if self.axis is None else {"dim": self.axis}
        return Code(call("argmax", site.x, top_k=self.options.top_k, **settings, **self.changed(values="out_max_val")))
