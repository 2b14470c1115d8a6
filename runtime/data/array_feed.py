"""MemoryData: arrays that the program hands over, batch after batch, from the first again after the last."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from netc.errors import NetcError
from netc.layers.base import Layer, Shape, format_shape
from netc.runtime.parallel.shards import WHOLE, Shard, positions


class ArrayFeed:
    """The feed of a MemoryData layer (netc.runtime.data.Feed).

    `data`: (n, channels, height, width), `labels`: n values, arrays or tensors, n a multiple of the batch size.
    Raises NetcError D555 where they are not.
    """

    device = "cpu"

    def __init__(self, layer: Layer, data: Any, labels: Any) -> None:
        self.shapes: list[Shape] = [tuple(shape) for shape in layer.setup([])]
        self.batch_size = self.shapes[0][0]
        self.data = torch.as_tensor(data, dtype=torch.float32).detach().clone()
        self.labels = torch.as_tensor(labels, dtype=torch.float32).detach().clone().flatten()
        self.size: int | None = len(self.data) if self.data.dim() else 0
        self._check(layer)

    def _check(self, layer: Layer) -> None:
        found, image = tuple(self.data.shape), self.shapes[0][1:]
        wrong, hint = "", None
        if found[1:] != image or not self.size:
            wrong = f"takes arrays of N×{format_shape(image)}, found {format_shape(found)}"
        elif len(self.labels) != self.size:
            wrong = f"takes a label for each of the {self.size} images, found {len(self.labels)}"
        elif self.size % self.batch_size:
            wrong = f"takes whole batches of {self.batch_size}, found {self.size} images"
            hint = "leave some out, or repeat some; or change batch_size"
        if wrong:
            raise NetcError("D555", f'layer "{layer.name}" ({layer.type}) {wrong}', layer.origin.start, hint)

    def batch(self, k: int, stop: int | None = None, shard: Shard = WHOLE, step: int = 1) -> list[Tensor]:
        assert self.size
        rows = [position % self.size for position in positions(k, self.batch_size, stop, shard)]
        return [self.data[rows], self.labels[rows]]

    def record(self, position: int) -> str:
        assert self.size
        return f"row {position % self.size} of the arrays that were handed over (from 0)"

    def close(self) -> None:
        pass
