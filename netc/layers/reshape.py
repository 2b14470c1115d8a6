from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, count, format_shape, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("Reshape")
class Reshape(Layer):
    """The same values under another shape. Cannot work in place.

    Fields: `shape` (a dim of 0 keeps the bottom's, one dim of -1 is inferred), `axis` (0) and `num_axes` (-1: to the
    end) of the axes that it replaces; a negative axis counts from behind the last, so -1 appends. Shapes: as described.
    Errors: counts that differ, two dims of -1, a 0 where the bottom has no axis. Source: reshape_layer.cpp.
    """

    passes = slice(None)
    in_place = False
    param_field = "reshape_param"
    kind = "join"
    keeps_values = keeps_zeros = keeps_rms = True
    dims: list[int]

    def summary(self) -> str | None:
        return format_shape(tuple(self.options.shape.dim))

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.dims = dims = list(self.options.shape.dim)
        if dims.count(-1) > 1:
            self.fail("more than one dim is -1: only one can be inferred", "reshape_param.shape")
        if any(dim < -1 for dim in dims):
            self.fail(f"dim {min(dims)}", "reshape_param.shape", "a size, 0 to keep the bottom's, or -1 to infer it")
        if self.options.num_axes < -1:
            self.fail(f"num_axes {self.options.num_axes}", "reshape_param.num_axes", "-1 means all that follow")
        return [self._target(bottoms[0])]

    def _target(self, shape: Shape) -> Shape:
        start, end = self._replaced(shape)
        dims = [self._kept(shape, start + i) if dim == 0 else dim for i, dim in enumerate(self.dims)]
        if -1 in dims:
            dims[dims.index(-1)] = self._inferred(shape, count(shape, start, end), dims)
        target = (*shape[:start], *dims, *shape[end:])
        if count(target) != count(shape):
            listed = f"{format_shape(shape)} ({count(shape)}) to {format_shape(target)} ({count(target)})"
            self.fail(
                f"cannot turn {listed}", "reshape_param.shape", "the counts must agree; one dim may be -1", "L302"
            )
        return target

    def _replaced(self, shape: Shape) -> tuple[int, int]:
        """First and end of the axes that the new dims replace."""
        axis, number = self.options.axis, self.options.num_axes
        start = axis if axis >= 0 else len(shape) + 1 + axis
        if not 0 <= start <= len(shape):
            self.fail(f"axis {axis} does not exist in {format_shape(shape)}", "reshape_param.axis", code="L302")
        end = len(shape) if number == -1 else start + number
        if end > len(shape):
            found = f"{number} axes from axis {start} on, but the bottom is {format_shape(shape)}"
            self.fail(found, "reshape_param.num_axes", code="L302")
        return start, end

    def _kept(self, shape: Shape, axis: int) -> int:
        if axis >= len(shape):
            found = f"a dim of 0 keeps axis {axis}, which the bottom, {format_shape(shape)}, does not have"
            self.fail(found, "reshape_param.shape", code="L302")
        return shape[axis]

    def _inferred(self, shape: Shape, available: int, dims: list[int]) -> int:
        known = -count(tuple(dims))
        if known == 0 or available % known:
            found = f"the -1 cannot be inferred: {available} values are not a multiple of {known}"
            self.fail(f"{found} (bottom {format_shape(shape)})", "reshape_param.shape", code="L302")
        return available // known

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return [bottoms[0].reshape(self._target(tuple(bottoms[0].shape)))]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        target, (start, end) = self._target(shapes[0]), self._replaced(shapes[0])
        if not target:
            return None
        behind = shapes[0][end:]
        kept = [0] * len(behind) if start + len(self.dims) == end else behind  # 0: as the bottom's at this place
        dims = [*[0] * start, *self.dims, *kept]
        if -1 not in dims and dims[0] != 0:
            dims[0] = -1
        return [op.Reshape(x[0], op.ints(dims))]

    def emit(self, site: Site) -> Code:
        start, end = self._replaced(site.shape)
        kept = [f"{site.x}.shape[{axis}]" for axis in range(len(site.shape))]
        middle = [kept[start + i] if dim == 0 else str(dim) for i, dim in enumerate(self.dims)]
        return Code(f"{site.x}.reshape({', '.join([*kept[:start], *middle, *kept[end:]]) or '()'})")
