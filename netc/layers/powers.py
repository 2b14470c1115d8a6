from __future__ import annotations

import math
from typing import TYPE_CHECKING

from netc.layers.activations import Pointwise
from netc.layers.base import layer

if TYPE_CHECKING:
    from torch import Tensor


@layer("Power")
class Power(Pointwise):
    """y = (shift + scale · x)^power; constant, without gradient, where power or scale is 0.

    Fields: `power` (1), `scale` (1), `shift` (0). The gradient is the true one, also at 0. Shapes: any → the same.
    Source: power_layer.cpp.
    """

    param_field = "power_param"

    def value(self, x: Tensor) -> Tensor:
        import torch

        power, scale, shift = self.options.power, self.options.scale, self.options.shift
        if power * scale == 0:
            return torch.full_like(x, 1.0 if power == 0 else _power(shift, power))
        line = x * scale if scale != 1 else x
        line = line + shift if shift else line
        return line if power == 1 else line.pow(power)


def _power(base: float, power: float) -> float:
    """C's pow: a pole is infinite, a root of a negative number NaN."""
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

    def check(self) -> None:
        _check_base(self)

    def value(self, x: Tensor) -> Tensor:
        inner = self.options.scale * _log_base(self)
        y = (x * inner if inner != 1 else x).exp()
        outer = math.exp(self.options.shift * _log_base(self))
        return y * outer if outer != 1 else y


@layer("Log")
class Log(Pointwise):
    """y = log_base(shift + scale · x), base -1 standing for e.

    Fields: `base` (-1), `scale` (1), `shift` (0). Shapes: any → the same. Errors: base 0 or below (but -1), base 1.
    Source: log_layer.cpp.
    """

    param_field = "log_param"

    def check(self) -> None:
        _check_base(self)
        if self.options.base == 1:
            self.fail("base 1 has no logarithm", "log_param.base", "leave base out for the natural logarithm")

    def value(self, x: Tensor) -> Tensor:
        scale, shift, base = self.options.scale, self.options.shift, _log_base(self)
        line = x * scale if scale != 1 else x
        y = (line + shift if shift else line).log()
        return y / base if base != 1 else y


def _check_base(layer: Pointwise) -> None:
    base = layer.options.base
    if base != -1 and not 0 < base < math.inf:
        layer.fail(f"base {base:g} is not positive", f"{layer.param_field}.base", "leave base out for e")


def _log_base(layer: Pointwise) -> float:
    base = layer.options.base
    return 1.0 if base == -1 else math.log(base)
