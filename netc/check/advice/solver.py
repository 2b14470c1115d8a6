"""Solver settings that are valid, but probably unintended."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from netc.errors import Place
from netc.errors.origin import Origin
from netc.errors.remark import Advice
from netc.solver.policies import POLICIES

Found = Iterator[tuple[str, str, str, str | None]]
"""(code, message, field, hint) of each remark."""


def solver_remarks(param: Any, origin: Origin | None = None) -> list[Advice]:
    """Every remark on a solver of the current format."""
    origin = origin or Origin(Place("<solver>"))
    found = [remark for rule in (_rate, _schedule, _sizes, _testing, _rest) for remark in rule(param)]
    return [Advice(code, message, origin.place(field), hint) for code, message, field, hint in found]


def _rate(p: Any) -> Found:
    if not p.base_lr:
        yield "A850", "base_lr is not set: the learning rate is 0", "base_lr", "add base_lr: 0.01, say"
    if p.lr_policy in {"step", "multistep", "exp"} and not p.gamma:
        message = f'gamma is not set: lr_policy "{p.lr_policy}" has rate 0 after its first step'
        yield "A851", message, "lr_policy", "add gamma: 0.1"
    if p.lr_policy in {"step", "multistep", "exp"} and p.gamma > 1:  # 1 is how some write a rate that stays
        yield "A852", f"the rate grows at each step: gamma is {p.gamma:g}", "gamma", "0.1 divides it by 10"
    if p.lr_policy in {"poly", "inv"} and not p.power:
        message = f'power is not set: the rate of lr_policy "{p.lr_policy}" never changes'
        yield "A853", message, "lr_policy", "add power: 1" if p.lr_policy == "poly" else "add power: 0.75"


def _schedule(p: Any) -> Found:
    if p.lr_policy in {"step", "sigmoid"} and p.gamma != 1 and NEVER * p.max_iter > p.stepsize >= p.max_iter:
        message = f"the rate never drops: stepsize is {p.stepsize}, max_iter {p.max_iter}"
        yield "A854", message, "stepsize", 'take a smaller stepsize, or lr_policy "fixed"'
    late = [value for value in p.stepvalue if value >= p.max_iter > 0] if p.lr_policy == "multistep" else []
    if late:
        message = f"the rate does not drop at {', '.join(map(str, late))}: max_iter is {p.max_iter}"
        yield "A854", message, f"stepvalue[{len(p.stepvalue) - len(late)}]", "correct stepvalue or max_iter"
    early = next((i for i, (a, b) in enumerate(pairwise(p.stepvalue), 1) if b < a), None)
    if early is not None and p.lr_policy == "multistep":
        message = f"stepvalue {p.stepvalue[early]} comes after {p.stepvalue[early - 1]}, and counts only then"
        yield "A854", message, f"stepvalue[{early}]", "the rate drops at one after the other, in the order given"
    for name in ("gamma", "power", "stepsize", "stepvalue"):
        given = bool(p.stepvalue) if name == "stepvalue" else p.HasField(name)
        if given and p.lr_policy in POLICIES and name not in POLICIES[p.lr_policy].reads:
            wanted = ", ".join(f'"{name_of}"' for name_of, policy in POLICIES.items() if name in policy.reads)
            yield "A855", f'lr_policy "{p.lr_policy}" does not read {name}', name, f"policies that do: {wanted}"
    if p.HasField("plateau_param") and p.lr_policy != "plateau":
        message = f'plateau_param is not used: lr_policy is "{p.lr_policy}", not "plateau"'
        yield "A855", message, "plateau_param", None


NEVER = 4
"""An interval this many times max_iter means "never", as in public solvers with 10000000 or 999999."""
LARGEST_RATE = {"SGD": 5.0, "Nesterov": 5.0, "AdaGrad": 1.0, "RMSProp": 0.2, "Adam": 0.2, "AdaDelta": 10.0}
"""Rates that nobody trains with: ten times what large batches or the rule's own papers take."""
LARGEST_DECAY = 0.1


def _sizes(p: Any) -> Found:
    largest = LARGEST_RATE.get(p.type)
    if largest is not None and p.base_lr > largest:
        usual = "0.001" if p.type in {"Adam", "RMSProp"} else "1" if p.type == "AdaDelta" else "0.01 to 0.1"
        yield "A856", f"base_lr {p.base_lr:g} is unusually large for {p.type}", "base_lr", f"{usual} is usual"
    if p.base_lr < 0:
        yield "A856", f"base_lr {p.base_lr:g} is negative: it increases the loss", "base_lr", "take the sign away"
    if p.weight_decay > LARGEST_DECAY:
        yield "A856", f"weight_decay {p.weight_decay:g} is unusually large", "weight_decay", "0.0005 is usual"
    if p.weight_decay < 0:
        yield "A856", f"weight_decay {p.weight_decay:g} makes weights grow", "weight_decay", "take the sign away"
    if p.momentum >= 1:
        yield "A857", f"momentum is {p.momentum:g}: from 1 on, updates grow without end", "momentum", "0.9 is usual"
    elif p.momentum < 0:
        yield "A857", f"momentum is {p.momentum:g}: each update takes the one before back", "momentum", "0.9 is usual"
    elif 0 < p.momentum < 0.3 and p.type in {"SGD", "Nesterov"}:
        yield "A857", f"momentum {p.momentum:g} does next to nothing", "momentum", "0.9 is usual"
    if 0 < p.clip_gradients < 1e-4:
        message = f"clip_gradients {p.clip_gradients:g} cuts every gradient down to almost nothing"
        yield "A856", message, "clip_gradients", "10 to 40 is usual where it is needed"


def _testing(p: Any) -> Found:
    if p.max_iter < p.test_interval < NEVER * p.max_iter:
        message = f"there is no test before the end: test_interval is {p.test_interval}, max_iter {p.max_iter}"
        yield "A858", message, "test_interval", "take a smaller test_interval"
    if any(number < 1 for number in p.test_iter):
        hint = "leave test_iter out to test on the whole set"
        yield "A858", f"test_iter is {min(p.test_iter)}: that test takes no batch", "test_iter", hint


MAX_ITER = "add max_iter: 10000, say; a program that calls run.step(n) needs none"


def _rest(p: Any) -> Found:
    if p.debug_info:
        message = "debug_info is not printed: run.net(…, blobs=[…]) from Python shows any blob"
        yield "A859", message, "debug_info", None
    if p.iter_size < 1:
        message = f"iter_size is {p.iter_size}: an iteration sees no batch, so nothing can be trained"
        yield "A860", message, "iter_size", "leave it out, or set it to 1"
    if not p.max_iter:
        yield "A860", "max_iter is not set: training ends before it starts", "max_iter", MAX_ITER
