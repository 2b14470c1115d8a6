from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, at_least, canonical_axis, format_shape, layer
from netc.layers.code import Code, Site, tuple_of

if TYPE_CHECKING:
    from torch import Tensor


def old_or_new_axis(layer: Layer, old: str) -> tuple[str, int]:
    """(field path, value) of `axis`, or of the older field that stands for it; giving both is an error."""
    options = layer.options
    if not options.HasField(old):
        return f"{layer.param_field}.axis", int(options.axis)
    if options.HasField("axis"):
        layer.fail(f"gives axis and {old}, its older name", f"{layer.param_field}.{old}", f"drop {old}")
    return f"{layer.param_field}.{old}", int(getattr(options, old))


@layer("Concat")
class Concat(Layer):
    """The bottoms one after the other along `axis` (1; `concat_dim` is its older name).

    Shapes: equal except on the axis → their sum there. Errors: shapes that differ elsewhere, both names given.
    Source: concat_layer.cpp.
    """

    passes = slice(None)
    bottoms = at_least(1)
    in_place = False
    ends_block = True
    param_field = "concat_param"
    kind = "join"
    keeps_zeros = True
    axis: int

    def takes_any_form(self) -> bool:
        return True

    def rms(self, bottom: float, *others: float | None) -> float | None:
        known = [size for size in (bottom, *others) if size is not None]
        return max(known) if len(known) > len(others) else None

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        first = bottoms[0]
        field, value = old_or_new_axis(self, "concat_dim")
        self.axis = axis = canonical_axis(self, value, first, field)
        self.mixes_rows = axis == 0
        for index, shape in enumerate(bottoms):
            if len(shape) != len(first) or any(
                a != b for i, (a, b) in enumerate(zip(shape, first, strict=True)) if i != axis
            ):
                self.fail(
                    f"bottom {index} is {format_shape(shape)}, bottom 0 {format_shape(first)}: they may differ on "
                    f"axis {axis} only",
                    f"bottom[{index}]",
                    code="L302",
                )
        return [(*first[:axis], sum(shape[axis] for shape in bottoms), *first[axis + 1 :])]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch

        return [torch.cat(list(bottoms), self.axis) if len(bottoms) > 1 else bottoms[0]]

    def hands_on(self) -> bool:
        return len(self.param.bottom) == 1

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Concat(*x, axis=self.axis)]

    def emit(self, site: Site) -> Code:
        return Code(f"torch.cat({tuple_of(site.bottoms)}, dim={self.axis})" if len(site.bottoms) > 1 else site.x)
