from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, at_least, format_shape, layer
from netc.layers.code import Code, Site, call, number

if TYPE_CHECKING:
    from torch import Tensor


PROD, SUM, MAX = 0, 1, 2


@layer("Eltwise")
class Eltwise(Layer):
    """Product, weighted sum or maximum of bottoms of one shape, value by value.

    Fields: `operation` SUM | PROD | MAX, `coeff` (SUM only; one for each bottom, 1 by default). Where bottoms 0 and 1
    are equal, MAX and its gradient take bottom 1; a later bottom has to be greater. `stable_prod_grad` changes nothing:
    the gradient of PROD is the product of the other bottoms. Shapes: equal → the same.
    Errors: shapes that differ, coeff with PROD or in another number than the bottoms. Source: eltwise_layer.cpp.
    """

    bottoms = at_least(2)
    keeps_places = True
    param_field = "eltwise_param"
    kind = "join"
    keeps_zeros = True
    ends_block = True
    weights: list[float]

    def summary(self) -> str | None:
        return " ".join([self.choice("operation"), *(f"{value:g}" for value in self.options.coeff)])

    def rms(self, bottom: float, *others: float | None) -> float | None:
        known = [size for size in (bottom, *others) if size is not None]
        if len(known) <= len(others) or self.options.operation != SUM:
            return None
        return float(sum((w * size) ** 2 for w, size in zip(self.weights, known, strict=True)) ** 0.5)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        coefficients = len(self.options.coeff)
        if coefficients not in (0, len(bottoms)):
            self.fail(
                f"{coefficients} coeff for {len(bottoms)} bottoms", "eltwise_param.coeff", "give one for each, or none"
            )
        if coefficients and self.options.operation == PROD:
            self.fail("coeff belongs to SUM; the operation is PROD", "eltwise_param.coeff", "drop coeff")
        self.keeps_means = self.keeps_sums = self.options.operation == SUM
        self.weights = list(self.options.coeff) or [1.0] * len(bottoms)
        for index, shape in enumerate(bottoms):
            if shape != bottoms[0]:
                found = f"bottom {index} is {format_shape(shape)}, bottom 0 {format_shape(bottoms[0])}"
                self.fail(f"its bottoms differ: {found}", f"bottom[{index}]", code="L302")
        return [bottoms[0]]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        if self.options.operation == MAX:
            from netc.layers.functions import choices

            return [choices.larger(*bottoms)]
        first, *others = bottoms
        if self.options.operation == SUM:
            return [self._sum(first, others)]
        for other in others:
            first = first * other
        return [first]

    def _sum(self, first: Tensor, others: list[Tensor]) -> Tensor:
        import torch

        total = first if self.weights[0] == 1 else first * self.weights[0]
        for other, weight in zip(others, self.weights[1:], strict=True):
            total = torch.add(total, other, alpha=weight)
        return total

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        if self.options.operation == MAX:
            return [op.Max(*x)]
        if self.options.operation == SUM:
            x = [y if w == 1 else op.Mul(y, op.numbers(w)) for y, w in zip(x, self.weights, strict=True)]
        join = op.Add if self.options.operation == SUM else op.Mul
        total = x[0]
        for other in x[1:]:
            total = join(total, other)
        return [total]

    def emit(self, site: Site) -> Code:
        if self.options.operation == PROD:
            return Code(" * ".join(site.bottoms))
        if self.options.operation == MAX:
            return Code(call("larger", *site.bottoms))
        total = _term(site.x, self.weights[0])
        for other, weight in zip(site.bottoms[1:], self.weights[1:], strict=True):
            total += f" {'-' if weight < 0 else '+'} {_term(other, abs(weight))}"
        return Code(total)


def _term(x: str, weight: float) -> str:
    return x if weight == 1 else f"-{x}" if weight == -1 else f"{number(weight)} * {x}"
