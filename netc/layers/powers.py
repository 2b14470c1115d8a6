from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.activations import Pointwise
from netc.layers.affine import Affine, doubles
from netc.layers.base import Shape, layer
from netc.layers.code import Code, Site, number

if TYPE_CHECKING:
    from torch import Tensor


@layer("Power")
class Power(Pointwise):
    """y = (shift + scale · x)^power; constant, without gradient, where power or scale is 0.

    Fields: `power` (1), `scale` (1), `shift` (0). The gradient is the true one, also at 0. Shapes: any → the same.
    Source: power_layer.cpp.
    """

    param_field = "power_param"
    inline = False

    def value(self, x: Tensor) -> Tensor:
        import torch

        power, scale, shift = self.options.power, self.options.scale, self.options.shift
        if power * scale == 0:
            return torch.full_like(x, _power(shift, power))
        line = x * scale if scale != 1 else x
        line = line + shift if shift else line
        return line if power == 1 else line.pow(power)

    def check(self) -> None:
        self.keeps_means = self.options.power == 1
        self.keeps_sums = self.keeps_means and not self.options.shift

    def hands_on(self) -> bool:
        return (self.options.power, self.options.scale, self.options.shift) == (1, 1, 0)

    def affine(self, arrays: Sequence[Any], bottoms: Sequence[Shape]) -> Affine | str:
        if self.options.power != 1:
            return "its power is not 1"
        return Affine(None, *doubles(self.options.scale, self.options.shift))

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        power, scale, shift = self.options.power, self.options.scale, self.options.shift
        if power * scale == 0:
            return None
        return [op.Pow(_line_in_onnx(op, x[0], scale, shift), op.numbers(power))]

    def emit(self, site: Site) -> Code:
        power, scale, shift = self.options.power, self.options.scale, self.options.shift
        if power * scale == 0:
            return Code(f"torch.full_like({site.x}, {number(_power(shift, power))})")
        line = _line(site.x, scale, shift)
        if power == 1:
            return Code(line)
        return Code(f"{line if line == site.x else f'({line})'} ** {number(power)}")


def _power(base: float, power: float) -> float:
    """C's pow: a pole is infinite, a root of a negative number NaN."""
    if power == 0:
        return 1.0
    try:
        result = base**power
    except ZeroDivisionError:
        return math.inf
    except OverflowError:
        return math.copysign(math.inf, base) if power % 2 == 1 else math.inf
    return math.nan if isinstance(result, complex) else float(result)


@layer("Exp")
class Exp(Pointwise):
    """y = base^(shift + scale · x), base -1 standing for e.

    Fields: `base` (-1), `scale` (1), `shift` (0). Shapes: any → the same. Errors: base 0 or below (but -1).
    Source: exp_layer.cpp.
    """

    param_field = "exp_param"
    inline = False

    def check(self) -> None:
        _check_base(self)

    def value(self, x: Tensor) -> Tensor:
        inner = self.options.scale * _log_base(self)
        y = (x * inner if inner != 1 else x).exp()
        outer = math.exp(self.options.shift * _log_base(self))
        return y * outer if outer != 1 else y

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        base = _log_base(self)
        return [op.Exp(_line_in_onnx(op, x[0], self.options.scale * base, self.options.shift * base))]

    def emit(self, site: Site) -> Code:
        base = _log_base(self)
        return Code(f"torch.exp({_line(site.x, self.options.scale * base, self.options.shift * base)})")


@layer("Log")
class Log(Pointwise):
    """y = log_base(shift + scale · x), base -1 standing for e.

    Fields: `base` (-1), `scale` (1), `shift` (0). Shapes: any → the same. Errors: base 0 or below (but -1), base 1.
    Source: log_layer.cpp.
    """

    param_field = "log_param"
    inline = False

    def check(self) -> None:
        _check_base(self)
        if self.options.base == 1:
            self.fail("base 1 has no logarithm", "log_param.base", "leave base out for the natural logarithm")

    def value(self, x: Tensor) -> Tensor:
        scale, shift, base = self.options.scale, self.options.shift, _log_base(self)
        line = x * scale if scale != 1 else x
        y = (line + shift if shift else line).log()
        return y / base if base != 1 else y

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        y = op.Log(_line_in_onnx(op, x[0], self.options.scale, self.options.shift))
        base = _log_base(self)
        return [y if base == 1 else op.Div(y, op.numbers(base))]

    def emit(self, site: Site) -> Code:
        base = _log_base(self)
        logarithm = f"torch.log({_line(site.x, self.options.scale, self.options.shift)})"
        return Code(logarithm if base == 1 else f"{logarithm} / {number(base)}")


def _check_base(layer: Pointwise) -> None:
    base = layer.options.base
    if base != -1 and not 0 < base < math.inf:
        layer.fail(f"base {base:g} is not positive", f"{layer.param_field}.base", "leave base out for e")


def _log_base(layer: Pointwise) -> float:
    base = layer.options.base
    return 1.0 if base == -1 else math.log(base)


def _line(x: str, scale: float, shift: float) -> str:
    """The expression of scale · x + shift."""
    scaled = x if scale == 1 else f"-{x}" if scale == -1 else f"{number(scale)} * {x}"
    return f"{scaled} {'+' if shift > 0 else '-'} {number(abs(shift))}" if shift else scaled


def _line_in_onnx(op: Any, x: Any, scale: float, shift: float) -> Any:
    """The value of scale · x + shift."""
    scaled = x if scale == 1 else op.Mul(x, op.numbers(scale))
    return op.Add(scaled, op.numbers(shift)) if shift else scaled
