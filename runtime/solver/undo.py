"""What an iteration changes before its update, to go back to the state before it where it cannot be finished."""

from __future__ import annotations

import torch

from netc.runtime.net.module import Net


class Undo:
    """The parts of `net` that a forward pass itself changes, as they are now: BatchNorm's sums, hidden states."""

    def __init__(self, net: Net) -> None:
        self._net = net
        places = [step.params[position] for step in net.steps for position in step.node.layer.running()]
        self._running = [(place, getattr(*place).detach().clone()) for place in places]
        self._kept = net.run.kept()

    @torch.no_grad()
    def back(self) -> None:
        """Make them what they were."""
        for place, value in self._running:
            getattr(*place).copy_(value)
        self._net.run.keep(self._kept)
