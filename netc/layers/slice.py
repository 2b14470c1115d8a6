from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, at_least, canonical_axis, layer
from netc.layers.code import Code, Site, tuple_of
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

    passes = slice(None)
    tops = at_least(1)
    in_place = False
    param_field = "slice_param"
    kind = "join"
    keeps_zeros = keeps_rms = True
    axis: int
    points: list[int]
    parts: int

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottoms[0]
        field, value = old_or_new_axis(self, "slice_dim")
        self.axis = axis = canonical_axis(self, value, shape, field)
        self.mixes_rows = axis == 0
        self.points, self.parts = list(self.options.slice_point), len(self.param.top)
        if self.points:
            self._check_points(self.points)
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
        if self.points:
            return [end - start for start, end in zip([0, *self.points], [*self.points, size], strict=True)]
        if size % self.parts:
            self.fail(
                f"{size} on axis {self.axis} is not a multiple of {self.parts} tops",
                "slice_param",
                "give slice_point",
                "L302",
            )
        return [size // self.parts] * self.parts

    def _check_points(self, points: list[int]) -> None:
        if len(points) != self.parts - 1:
            self.fail(
                f"{len(points)} slice_point for {self.parts} tops", "slice_param.slice_point", f"give {self.parts - 1}"
            )
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

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        sizes = self._sizes(shapes[0][self.axis])
        if self.axis == 0:
            return None  # the batch
        return (
            op.Split(x[0], op.ints(sizes), axis=self.axis, outputs=len(sizes))
            if len(sizes) > 1
            else [op.Identity(x[0])]
        )

    def emit(self, site: Site) -> Code:
        if self.parts == 1:
            return Code(site.x)
        if self.points:
            return Code(f"torch.tensor_split({site.x}, {tuple_of(self.points)}, dim={self.axis})", together=True)
        return Code(f"{site.x}.chunk({self.parts}, dim={self.axis})", together=True)
