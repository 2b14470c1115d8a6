from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, at_least, canonical_axis, layer
from netc.layers.concat import old_or_new_axis

if TYPE_CHECKING:
    from torch import Tensor


@layer("Slice")
class Slice(Layer):
    """The bottom cut into its tops along `axis` (1; `slice_dim` is its older name).

    Fields: `slice_point`: where each top but the first begins; without it the tops are equal parts. Shapes: any → the
    parts. Errors: points that do not rise, number of points not one less than the tops, a size that the tops do not
    divide. Source: slice_layer.cpp.
    """

    tops = at_least(1)
    in_place = False
    param_field = "slice_param"
    axis: int

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottoms[0]
        self.axis = axis = canonical_axis(self, old_or_new_axis(self, "slice_dim"), shape, "slice_param")
        sizes = self._sizes(shape[axis])
        if min(sizes) < 1:
            last = self.options.slice_point[-1]
            self.fail(
                f"the last slice_point, {last}, leaves nothing of the {shape[axis]} on axis {axis}",
                f"slice_param.slice_point[{len(sizes) - 2}]",
                code="L302",
            )
        return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]

    def _sizes(self, size: int) -> list[int]:
        """The size of each top for a bottom of `size` on the axis."""
        points, tops = list(self.options.slice_point), len(self.param.top)
        if points:
            self._check_points(points, tops)
            return [end - start for start, end in zip([0, *points], [*points, size], strict=True)]
        if size % tops:
            self.fail(
                f"{size} on axis {self.axis} is no multiple of {tops} tops", "slice_param", "give slice_point", "L302"
            )
        return [size // tops] * tops

    def _check_points(self, points: list[int], tops: int) -> None:
        if len(points) != tops - 1:
            self.fail(f"{len(points)} slice_point for {tops} tops", "slice_param.slice_point", f"give {tops - 1}")
        for index, (before, point) in enumerate(zip([0, *points], points, strict=False)):
            if point <= before:
                self.fail(
                    f"slice_point {point} does not come after {before}",
                    f"slice_param.slice_point[{index}]",
                    "sort them, each once",
                )

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x = bottoms[0]
        return list(x.split(self._sizes(x.shape[self.axis]), self.axis))
