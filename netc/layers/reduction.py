from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers import facts
from netc.layers.base import Layer, Run, Shape, canonical_axis, count, layer
from netc.layers.code import Code, Site, number, tuple_of

if TYPE_CHECKING:
    from torch import Tensor


SUM, ASUM, SUMSQ, MEAN = 1, 2, 3, 4


@layer("Reduction")
class Reduction(Layer):
    """The sum of all axes from `axis` on, times coeff.

    Fields: `operation` SUM | ASUM (of magnitudes) | SUMSQ (of squares) | MEAN, `axis` (0), `coeff` (1).
    Shapes: (a, b, c) → the axes before `axis`, scalar for axis 0.
    Errors: axis out of range. Source: reduction_layer.cpp.
    """

    in_place = False
    param_field = "reduction_param"
    kind = "measure"
    axis: int

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.axis = canonical_axis(self, self.options.axis, bottoms[0], "reduction_param.axis")
        self.mean_over = facts.SAMPLES if self.options.operation == MEAN else facts.SUM
        return [bottoms[0][: self.axis]]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        operation, coeff = self.options.operation, self.options.coeff
        rows = bottoms[0].flatten(self.axis)
        if operation == MEAN:
            coeff /= count(tuple(rows.shape), self.axis)
        terms = {ASUM: rows.abs, SUMSQ: rows.square}.get(operation, lambda: rows)()
        y = terms.sum(-1)
        return [y * coeff if coeff != 1 else y]

    def emit(self, site: Site) -> Code:
        operation, coeff = self.options.operation, self.options.coeff
        terms = {ASUM: f"{site.x}.abs()", SUMSQ: f"{site.x}.square()"}.get(operation, site.x)
        axes = tuple_of(range(self.axis, len(site.shape))) if self.axis and site.shape else ""
        total = f"{terms}.{'mean' if operation == MEAN else 'sum'}({axes})"
        return Code(f"{number(coeff)} * {total}" if coeff != 1 else total)
