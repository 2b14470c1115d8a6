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
    a compiled graph does not depend on it. `part`: which of the batch's samples the pass is about (None: all)."""

    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64), persistent=False)
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

    def kept(self) -> dict[str, list[Tensor]]:
        """Copies of what the layers have kept from the last pass, as far as it is tensors or lists of them: {key of the
        layer, "/", its own name for it: tensors}, "[]" behind the name of a list."""
        return {
            f"{key}/{name}" + ("[]" if isinstance(value, list) else ""): [part.detach().clone() for part in parts]
            for key, values in self._state.items()
            for name, value in values.items()
            if (parts := _tensors(value)) is not None
        }

    def keep(self, kept: Mapping[str, list[Tensor]]) -> None:
        """Let the layers go on from what `kept` has returned, and from nothing else."""
        self.forget()
        for path, tensors in kept.items():
            key, _, name = path.rpartition("/")
            parts = [part.to(self._clock.step.device, copy=True) for part in tensors]
            self._state.setdefault(key, {})[name.removesuffix("[]")] = parts if name.endswith("[]") else parts[0]

    def unkept(self) -> list[str]:
        """The keys of layers that have kept something else."""
        return [key for key, values in self._state.items() if any(_tensors(each) is None for each in values.values())]

    def forget(self) -> None:
        """Drop what the layers have kept."""
        self._state.clear()

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def write(self, layer: Layer, rows: Mapping[str, Tensor]) -> None:
        self.outputs.write(layer, rows)


def _tensors(value: Any) -> list[Tensor] | None:
    """The tensors of a value that is one, or a list of them; None for anything else, whole numbers included."""
    parts = value if isinstance(value, list) else [value]
    return parts if all(isinstance(part, Tensor) and part.is_floating_point() for part in parts) else None


def _first_row(part: range | None, rows: int) -> int:
    """Which row of the whole batch's blob is the first of this part's `rows`: each sample has as many rows as another
    (`netc.runtime.parallel.divisible` refuses nets of which that is not so)."""
    return part.start * rows // len(part) if part else 0
