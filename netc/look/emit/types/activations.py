"""Functions of each value by itself, and those along an axis."""

from __future__ import annotations

import math

from netc.look.emit.registry import Code, Site, emits
from netc.look.emit.text import number


@emits("ReLU", inline=True)
def relu(site: Site) -> Code:
    slope = site.options.negative_slope
    return Code(f"F.leaky_relu({site.x}, {number(slope)})" if slope else f"F.relu({site.x})")


@emits("ELU", inline=True)
def elu(site: Site) -> Code:
    alpha, factor = site.options.alpha, getattr(site.layer, "factor", 1.0)
    call = f"F.elu({site.x}, {number(alpha)})" if alpha != 1 else f"F.elu({site.x})"
    return Code(f"{number(factor)} * {call}" if factor != 1 else call)


@emits("Sigmoid", inline=True)
def sigmoid(site: Site) -> Code:
    return Code(f"torch.sigmoid({site.x})")


@emits("TanH", inline=True)
def tanh(site: Site) -> Code:
    return Code(f"torch.tanh({site.x})")


@emits("BNLL", inline=True)
def bnll(site: Site) -> Code:
    return Code(f"F.softplus({site.x}, threshold=50)")


@emits("AbsVal", inline=True)
def absval(site: Site) -> Code:
    return Code(f"torch.abs({site.x})")


@emits("Clip", inline=True)
def clip(site: Site) -> Code:
    low, high = site.options.min, site.options.max
    if low > high:
        return Code(f"torch.full_like({site.x}, {number(low)})")
    return Code(f"torch.clamp({site.x}, {number(low)}, {number(high)})")


@emits("Swish")
def swish(site: Site) -> Code:
    beta = site.options.beta
    return Code(f"F.silu({site.x})" if beta == 1 else f"{site.x} * torch.sigmoid({number(beta)} * {site.x})")


@emits("Threshold")
def threshold(site: Site) -> Code:
    return Code(f"({site.x} > {number(site.options.threshold)}).to({site.x}.dtype)")


@emits("Softmax")
def softmax(site: Site) -> Code:
    return Code(f"torch.softmax({site.x}, dim={site.layer.axis})")


@emits("PReLU", inline=True)
def prelu(site: Site) -> Code:
    shared = site.options.channel_shared
    return Code(site.call(), module="SharedPReLU()" if shared else f"nn.PReLU({site.shape[1]})")


@emits("Dropout")
def dropout(site: Site) -> Code:
    """In the TEST phase nothing; in a TRAIN net it follows `net.train()` and `net.eval()`."""
    options, ratio = site.options, number(site.options.dropout_ratio)
    scales = getattr(options, "scale_train", True)
    if site.layer.phase != 0 and getattr(options, "sample_weights_test", False):
        return Code(f"F.dropout({site.x}, {ratio})" if scales else f"kept_or_dropped({site.x}, {ratio})")
    if site.layer.phase != 0:
        return Code(site.x if scales else f"{number(1 - options.dropout_ratio)} * {site.x}")
    if scales:
        return Code(f"F.dropout({site.x}, {ratio}, training=self.training)")
    return Code(f"kept_or_dropped({site.x}, {ratio}, self.training)")


@emits("Power")
def power(site: Site) -> Code:
    exponent, scale, shift = site.options.power, site.options.scale, site.options.shift
    if exponent * scale == 0:
        return Code(f"torch.full_like({site.x}, {number(_constant(shift, exponent))})")
    line = _line(site.x, scale, shift)
    if exponent == 1:
        return Code(line)
    return Code(f"{line if line == site.x else f'({line})'} ** {number(exponent)}")


def _line(x: str, scale: float, shift: float) -> str:
    """scale · x + shift."""
    scaled = x if scale == 1 else f"-{x}" if scale == -1 else f"{number(scale)} * {x}"
    return f"{scaled} {'+' if shift > 0 else '-'} {number(abs(shift))}" if shift else scaled


def _constant(shift: float, exponent: float) -> float:
    """shift ** exponent as C's pow gives it."""
    if exponent == 0:
        return 1.0
    try:
        result = shift**exponent
    except ZeroDivisionError:
        return math.inf
    except OverflowError:
        return math.copysign(math.inf, shift) if exponent % 2 == 1 else math.inf
    return math.nan if isinstance(result, complex) else float(result)


@emits("Exp")
def exp(site: Site) -> Code:
    log_base = _log_base(site.options.base)
    line = _line(site.x, site.options.scale * log_base, site.options.shift * log_base)
    return Code(f"torch.exp({line})")


@emits("Log")
def log(site: Site) -> Code:
    log_base = _log_base(site.options.base)
    logarithm = f"torch.log({_line(site.x, site.options.scale, site.options.shift)})"
    return Code(logarithm if log_base == 1 else f"{logarithm} / {number(log_base)}")


def _log_base(base: float) -> float:
    return 1.0 if base == -1 else math.log(base)
