"""Which forward pass this is, and what a layer may know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from netc.graph.ir import Graph
from netc.layers._uncompiled import uncompiled
from netc.layers.base import Layer
from netc.runtime.net import rand
from netc.runtime.net.outputs import Outputs


class Clock(nn.Module):
    """The number of the forward pass, for everything random: `iteration` counts passes. The count is a tensor, and so
    is `start`, the first sample of `part`, so that a compiled graph does not depend on them. `unit` is a number of the
    net's type (`net.double()`).

    part: which of the batch's samples the pass is about (None: all), of `batch` in all. passes: how many of them are
    one iteration of training (iter_size): their batches, one behind the other, are the global batch, and what is random
    goes by the position in that.
    """

    step: Tensor
    start: Tensor
    unit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("unit", torch.ones(()), persistent=False)
        self.register_buffer("start", torch.zeros((), dtype=torch.int64), persistent=False)
        self._part: range | None = None
        self.length = 0
        self.batch = 0
        self.passes = 1

    @property
    def part(self) -> range | None:
        """Which of the batch's samples the pass is about; None: all."""
        return self._part

    @part.setter
    def part(self, value: range | None) -> None:
        self._part, self.length = value, len(value or ())
        self.start.fill_(value.start if value else 0)

    def first_row(self, rows: int) -> Tensor:
        """Which row of the whole batch's blob is the first of this part's `rows`: each sample has as many rows as
        another (`netc.runtime.parallel.divisible` refuses nets of which that is not so). A tensor in any case: torch's
        compiler takes arithmetic on known numbers for that of an index, which does not wrap round."""
        return self.start * rows // self.length if self.length else self.start

    def whole_rows(self, rows: int) -> int:
        """How many rows the whole batch's blob has, where this part's has `rows`."""
        return self.batch * rows // self.length if self.length else rows

    @property
    def iteration(self) -> int:
        return int(self.step)

    @iteration.setter
    def iteration(self, value: int) -> None:
        self.step.fill_(value)


class LayerRun:
    """What layers see of the machine (netc.layers.base.Run).

    between_layers: called before each layer of a pass, forward and backward, unless it is compiled, with the seconds
    that nobody will look again for (0: not known); what it raises ends the pass. multiplied: told of each layer that
    multiplies with its parameters (`Layer.multiplies`), of its first bottom and its top, in a pass that is recorded.
    """

    def __init__(self, graph: Graph, clock: Clock, seed: int, outputs: Outputs) -> None:
        self.training = any(node.layer.phase == 0 for node in graph.nodes)
        self._clock, self.outputs = clock, outputs
        self._keys = {node.layer.key: rand.key(seed, "layer", node.layer.key) for node in graph.nodes}
        self._state: dict[str, dict[str, Any]] = {}
        self.between_layers: Callable[[float], None] | None = None
        self.multiplied: Callable[[Any, Tensor, Tensor], None] | None = None

    def look(self, ahead: float = 0.0) -> None:
        """Call `between_layers`, where it is set."""
        if self.between_layers is not None:
            self.between_layers(ahead)

    def uniform(self, layer: Layer, like: Tensor) -> Tensor:
        clock, rows = self._clock, like.shape[0] if like.dim() else 1
        step, first = clock.step, clock.first_row(rows)
        if clock.passes > 1:
            step, first = step // clock.passes, first + step % clock.passes * clock.whole_rows(rows)
        key = rand.step_key(self._keys[layer.key], step)
        return rand.uniform_tensor(key, first, rows, like.numel() // max(rows, 1)).view(like.shape)

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

    @uncompiled
    def write(self, layer: Layer, rows: Mapping[str, Tensor]) -> None:
        self.outputs.write(layer, rows)


def _tensors(value: Any) -> list[Tensor] | None:
    """The tensors of a value that is one, or a list of them; None for anything else, whole numbers included."""
    parts = value if isinstance(value, list) else [value]
    return parts if all(isinstance(part, Tensor) and part.is_floating_point() for part in parts) else None
