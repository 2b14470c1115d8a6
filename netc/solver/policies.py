"""Learning rate policies: pure functions of the solver's settings and the iteration, counted from 0 (sgd_solver.cpp).

`gamma` and `power` default to 0 as in Caffe, so "step" without gamma has rate 0 after the first step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


def fixed(param: Any, iteration: int) -> float:
    return float(param.base_lr)


def step(param: Any, iteration: int) -> float:
    return float(param.base_lr * param.gamma ** (iteration // param.stepsize))


def exp(param: Any, iteration: int) -> float:
    return float(param.base_lr * param.gamma**iteration)


def inv(param: Any, iteration: int) -> float:
    return float(param.base_lr * (1 + param.gamma * iteration) ** -param.power)


def multistep(param: Any, iteration: int) -> float:
    return float(param.base_lr * param.gamma ** steps_taken(param, iteration))


def poly(param: Any, iteration: int) -> float:
    """0 from max_iter on, where Caffe's is NaN: the power of a negative number, or of 0 / 0 without max_iter."""
    left = 1 - iteration / param.max_iter if param.max_iter > 0 else 0.0
    return float(param.base_lr * max(0.0, left) ** param.power)


def sigmoid(param: Any, iteration: int) -> float:
    """Rises with the iteration, as Caffe's does."""
    exponent = -param.gamma * (iteration - param.stepsize)
    return float(param.base_lr / (1 + math.exp(exponent))) if exponent < 700 else 0.0


class Policy(NamedTuple):
    """`rate`: (SolverParameter, iteration) → rate. `reads`: the settings it reads besides base_lr and max_iter."""

    rate: Callable[[Any, int], float]
    reads: tuple[str, ...] = ()


POLICIES = {
    "fixed": Policy(fixed),
    "step": Policy(step, ("gamma", "stepsize")),
    "exp": Policy(exp, ("gamma",)),
    "inv": Policy(inv, ("gamma", "power")),
    "multistep": Policy(multistep, ("gamma", "stepvalue")),
    "poly": Policy(poly, ("power",)),
    "sigmoid": Policy(sigmoid, ("gamma", "stepsize")),
    "plateau": Policy(fixed, ("gamma",)),
}
"""The rate of "plateau" is that of its start: plateau.py lowers it by what tests have shown."""


def steps_taken(param: Any, iteration: int) -> int:
    """How many of `stepvalue` have been taken: at most one an iteration, each at its value or later, in order."""
    taken, at = 0, -1
    for value in param.stepvalue:
        at = max(value, at + 1)
        if at > iteration:
            break
        taken += 1
    return taken


def drops(param: Any, iteration: int) -> int:
    """What Caffe's SolverState keeps as current_step."""
    if param.lr_policy == "step":
        return int(iteration // param.stepsize)
    return steps_taken(param, iteration) if param.lr_policy == "multistep" else 0
