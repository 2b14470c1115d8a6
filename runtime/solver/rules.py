"""Caffe's update rules. The learning rate is inside the momentum: h ← momentum·h + rate·g, w ← w − h (sgd_solver.cpp).

After a drop of the rate the velocity therefore keeps the old one, where torch.optim.SGD rescales it at once
(docs/numerics.md, T5). A rule sees the gradient as it is after clipping, division by iter_size and weight decay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class Slot:
    """A parameter with what the solver knows about it. `history` has one array, two for AdaDelta and Adam."""

    value: Tensor
    history: list[Tensor]
    lr_mult: float
    decay_mult: float

    def gradient(self) -> Tensor:
        """Its gradient; zeros where it has none, because it is frozen or no loss depends on it."""
        grad = self.value.grad if self.lr_mult else None
        return torch.zeros_like(self.value) if grad is None else grad


@dataclass(frozen=True, slots=True)
class Settings:
    """What the rules read of a SolverParameter."""

    momentum: float = 0.0
    momentum2: float = 0.999
    rms_decay: float = 0.99
    delta: float = 1e-8


Rule = Callable[[Tensor, Tensor, Sequence[Tensor], float, int, Settings], None]
"""(w, g, history, rate, iteration, settings): one update of w and history in place; g may be overwritten."""


def sgd(w: Tensor, g: Tensor, h: Sequence[Tensor], rate: float, iteration: int, s: Settings) -> None:
    h[0].mul_(s.momentum).add_(g, alpha=rate)
    w.sub_(h[0])


def nesterov(w: Tensor, g: Tensor, h: Sequence[Tensor], rate: float, iteration: int, s: Settings) -> None:
    """w ← w − ((1 + momentum)·h_new − momentum·h_old)."""
    w.add_(h[0], alpha=s.momentum)
    h[0].mul_(s.momentum).add_(g, alpha=rate)
    w.sub_(h[0], alpha=1 + s.momentum)


def adagrad(w: Tensor, g: Tensor, h: Sequence[Tensor], rate: float, iteration: int, s: Settings) -> None:
    h[0].addcmul_(g, g)
    w.addcdiv_(g, h[0].sqrt().add_(s.delta), value=-rate)


def rmsprop(w: Tensor, g: Tensor, h: Sequence[Tensor], rate: float, iteration: int, s: Settings) -> None:
    h[0].mul_(s.rms_decay).addcmul_(g, g, value=1 - s.rms_decay)
    w.addcdiv_(g, h[0].sqrt().add_(s.delta), value=-rate)


def adadelta(w: Tensor, g: Tensor, h: Sequence[Tensor], rate: float, iteration: int, s: Settings) -> None:
    """delta stands under the root, and h[1] averages the update before the rate is applied to it."""
    h[0].mul_(s.momentum).addcmul_(g, g, value=1 - s.momentum)
    update = (h[1] + s.delta).div_(h[0] + s.delta).sqrt_().mul_(g)
    h[1].mul_(s.momentum).addcmul_(update, update, value=1 - s.momentum)
    w.sub_(update, alpha=rate)


def adam(w: Tensor, g: Tensor, h: Sequence[Tensor], rate: float, iteration: int, s: Settings) -> None:
    """The bias correction is in the rate; delta is added to the uncorrected root."""
    h[0].mul_(s.momentum).add_(g, alpha=1 - s.momentum)
    h[1].mul_(s.momentum2).addcmul_(g, g, value=1 - s.momentum2)
    t = iteration + 1
    correction = math.sqrt(1 - s.momentum2**t) / (1 - s.momentum**t)
    w.addcdiv_(h[0], h[1].sqrt().add_(s.delta), value=-rate * correction)


RULES: dict[str, Rule] = {
    "SGD": sgd,
    "Nesterov": nesterov,
    "AdaGrad": adagrad,
    "RMSProp": rmsprop,
    "AdaDelta": adadelta,
    "Adam": adam,
}


class Updater:
    """Applies one iteration's accumulated gradients to the parameters, in Caffe's order of operations."""

    def __init__(self, param: Any, slots: Sequence[Slot]) -> None:
        self._kind, self._slots = param.type, list(slots)
        self._settings = Settings(param.momentum, param.momentum2, param.rms_decay, param.delta)
        self._decay, self._l1 = param.weight_decay, param.regularization_type == "L1"
        self._clip, self._iter_size = param.clip_gradients, param.iter_size
        self._moving = [slot for slot in self._slots if slot.lr_mult]
        self._groups = _group(self._moving) if self._fusible() else {}

    @property
    def is_fused(self) -> bool:
        """Whether the update is one pass over memory."""
        return bool(self._groups)

    @torch.no_grad()
    def apply(self, rate: float, iteration: int) -> float:
        """Clip the sum over iter_size, divide, decay, update. Returns the factor that clipping applied (1: none)."""
        gradients, clipped = self._clipped()
        if self._groups:
            self._apply_fused(gradients, rate)
        else:
            self._apply_each(gradients, rate, iteration)
        return clipped

    @torch.no_grad()
    def updates(self, rate: float, iteration: int) -> float:
        """As `apply`, short of the end: the gradients become what is to be subtracted from the parameters, which is
        what Caffe has in their diffs after an iteration."""
        gradients, clipped = self._clipped()
        for slot, gradient in zip(self._moving, gradients, strict=True):
            self._regularise(slot, gradient)
            change = torch.zeros_like(gradient)
            RULES[self._kind](change, gradient, slot.history, rate * slot.lr_mult, iteration, self._settings)
            torch.neg(change, out=gradient)
        return clipped

    def _clipped(self) -> tuple[list[Tensor], float]:
        """The mean gradients of one iteration, and the factor that clipping applied."""
        gradients = [slot.gradient() for slot in self._moving]
        clipped = self._clipping(gradients)
        if clipped != 1 or self._iter_size != 1:
            torch._foreach_mul_(gradients, clipped / self._iter_size)
        return gradients, clipped

    def _clipping(self, gradients: list[Tensor]) -> float:
        """clip / norm where the norm over all parameters exceeds clip_gradients, else 1 (ClipGradients)."""
        if self._clip < 0 or not gradients:
            return 1.0
        norm = float(torch.stack(torch._foreach_norm(gradients)).norm())
        return self._clip / norm if norm > self._clip else 1.0

    def _apply_each(self, gradients: Sequence[Tensor], rate: float, iteration: int) -> None:
        given = iter(gradients)
        for slot in self._slots:
            gradient = next(given) if slot.lr_mult else slot.gradient()
            self._regularise(slot, gradient)
            local = rate * slot.lr_mult
            RULES[self._kind](slot.value, gradient, slot.history, local, iteration, self._settings)

    def _regularise(self, slot: Slot, gradient: Tensor) -> None:
        decay = self._decay * slot.decay_mult
        if decay:
            gradient.add_(slot.value.sign() if self._l1 else slot.value, alpha=decay)

    def _fusible(self) -> bool:
        """Plain SGD with momentum runs through torch's fused kernel: one pass over memory instead of four."""
        return (
            self._kind == "SGD"
            and self._settings.momentum != 0
            and not (self._l1 and self._decay)
            and hasattr(torch, "_fused_sgd_")
            and len({(slot.value.device, slot.value.dtype) for slot in self._moving}) == 1
        )

    def _apply_fused(self, gradients: Sequence[Tensor], rate: float) -> None:
        """torch computes buf ← momentum·buf + (1 − dampening)·g, w ← w − lr·buf. With lr 1 and dampening 1 − rate that
        is Caffe's rule, the rate inside the momentum included."""
        for (lr_mult, decay_mult), members in self._groups.items():
            torch._fused_sgd_(
                [self._moving[i].value for i in members],
                [gradients[i] for i in members],
                [self._moving[i].history[0] for i in members],
                weight_decay=self._decay * decay_mult,
                momentum=self._settings.momentum,
                lr=1.0,
                dampening=1 - rate * lr_mult,
                nesterov=False,
                maximize=False,
                is_first_step=False,
            )


def _group(slots: Sequence[Slot]) -> dict[tuple[float, float], list[int]]:
    groups: dict[tuple[float, float], list[int]] = {}
    for index, slot in enumerate(slots):
        groups.setdefault((slot.lr_mult, slot.decay_mult), []).append(index)
    return groups
