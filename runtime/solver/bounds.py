"""Which gradients are finite for certain, without reading them.

A gradient of weights is sums of products of what they were multiplied with and the upper gradient. Where both of these
are small beside the weights (inner products behind a small batch), the largest of each is found at once, and bounds all
sums. So the check that an iteration is learnt from only if its gradients are finite need not read the largest ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from netc.runtime.net.module import Net, memory_of
from netc.runtime.net.steps import Step

SMALL = 4
"""A bound is worth its cost where the weights are so many times as many as the factors."""

LIMIT = 1e30
"""Sums of products that are at most this are finite in float32, whatever a library does on the way."""


class Bounds:
    """On the gradients of weights of `net` that one layer alone multiplies with, over the passes of an iteration."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._users = Counter(memory_of(tensor) for step in net.steps for tensor in step.held())
        self._found: dict[int, list[float]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """An iteration's passes, forward and backward."""
        self._found = {}
        self._net.run.multiplied = self._see
        try:
            yield
        finally:
            self._net.run.multiplied = None

    def finite(self, weight: Tensor) -> bool:
        """Whether the gradient that `weight` got in the passes watched is finite for certain."""
        found = self._found.get(memory_of(weight), [math.nan])
        return sum(found) < LIMIT  # NaN is not

    def _see(self, step: Step, x: Tensor, top: Tensor) -> None:
        weight, terms = step.values()[0], x.numel() + top.numel()
        key = memory_of(weight)
        if not top.requires_grad or weight.numel() < SMALL * terms or self._users[key] > 1:
            return
        bounds, number, largest = self._found.setdefault(key, []), len(self._found[key]), _largest(x)
        bounds.append(math.nan)  # until the gradient comes

        def backward(gradient: Tensor) -> None:
            bounds[number] = terms * largest * _largest(gradient)

        top.register_hook(backward)


def _largest(x: Tensor) -> float:
    return float(x.detach().abs().amax()) if x.numel() else 0.0
