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
    a compiled graph does not depend on it. `unit`: a number of the net's type (`net.double()`). `part`: which of the
    batch's samples the pass is about (None: all)."""

    step: Tensor
    unit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("unit", torch.ones(()), persistent=False)
        self.part: range | None = None

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
        key = rand.step_key(self._key(layer.key), self._clock.step)
        rows = like.shape[0] if like.dim() else 1
        first = _first_row(self._clock.part, rows)
        return rand.uniform_tensor(key, first, rows, like.numel() // max(rows, 1)).view(like.shape)

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


def _first_row(part: range | None, rows: int) -> int:
    """Which row of the whole batch's blob is the first of this part's `rows`: each sample has as many rows as another
    (`netc.runtime.parallel.divisible` refuses nets of which that is not so)."""
    return part.start * rows // len(part) if part else 0
