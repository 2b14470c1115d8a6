"""Which forward pass this is, and what a layer may know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from netc.layers.base import Layer
from netc.runtime.net import rand
from netc.runtime.net.outputs import Outputs


class Clock(nn.Module):
    """The number of the forward pass, for everything random: `iteration` counts passes. The count is a tensor, so that
    a compiled graph does not depend on it.

    part: which of the batch's samples the pass is about (None: all), of `batch` in all. passes: how many of them are
    one iteration of training (iter_size): their batches, one behind the other, are the global batch, and what is random
    goes by the position in that.
    """

    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64), persistent=False)
        self.part: range | None = None
        self.batch = 0
        self.passes = 1

    @property
    def iteration(self) -> int:
        return int(self.step)

    @iteration.setter
    def iteration(self, value: int) -> None:
        self.step.fill_(value)


class LayerRun:
    """What layers see of the machine (netc.layers.base.Run)."""

    def __init__(self, clock: Clock, seed: int, training: bool, outputs: Outputs) -> None:
        self._clock, self._seed, self.training, self.outputs = clock, seed, training, outputs
        self._keys: dict[str, int] = {}
        self._state: dict[str, dict[str, Any]] = {}

    def uniform(self, layer: Layer, like: Tensor) -> Tensor:
        clock = self._clock
        rows = like.shape[0] if like.dim() else 1
        first, whole = _rows(clock, rows)
        step: Tensor = clock.step
        offset: int | Tensor = first
        if clock.passes > 1:
            step, offset = step // clock.passes, first + step % clock.passes * whole
        key = rand.step_key(self._key(layer.key), step)
        return rand.uniform_tensor(key, offset, rows, like.numel() // max(rows, 1)).view(like.shape)

    def _key(self, layer: str) -> int:
        if layer not in self._keys:
            self._keys[layer] = rand.key(self._seed, "layer", layer)
        return self._keys[layer]

    def state(self, layer: Layer) -> dict[str, Any]:
        return self._state.setdefault(layer.key, {})

    def forget(self) -> None:
        """Drop what the layers have kept."""
        self._state.clear()

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def write(self, layer: Layer, rows: Mapping[str, Tensor]) -> None:
        self.outputs.write(layer, rows)


def _rows(clock: Clock, rows: int) -> tuple[int, int]:
    """Which row of the whole batch's blob is the first of this part's `rows`, and how many there are in all: each
    sample has as many rows as another (`netc.runtime.parallel.divisible` refuses nets of which that is not so)."""
    part = clock.part
    return (part.start * rows // len(part), clock.batch * rows // len(part)) if part else (0, rows)
