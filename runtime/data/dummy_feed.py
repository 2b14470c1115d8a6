"""DummyData: tops made by fillers. Constant ones never change; random ones are a function of the pass's number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from netc import proto
from netc.layers.base import Layer, Shape
from netc.runtime.net import rand
from netc.runtime.net.fillers import fill
from netc.runtime.parallel.shards import WHOLE, Shard


class DummyFeed:
    """The feed of a DummyData layer (netc.runtime.data.Feed): endless."""

    size: int | None = None
    device = "cpu"

    def __init__(self, layer: Layer, phase: int, seed: int, workers: int | None = None, opened: Any = None) -> None:
        self.layer, self.seed = layer, seed
        self.shapes: list[Shape] = [tuple(shape) for shape in layer.setup([])]
        self.batch_size = self.shapes[0][0] if self.shapes[0] else 1
        fillers = list(layer.options.data_filler) or [proto.FillerParameter(type="constant")]
        self.fillers = fillers if len(fillers) == len(self.shapes) else fillers * len(self.shapes)

    def batch(self, k: int, stop: int | None = None, shard: Shard = WHOLE, step: int = 1) -> list[Tensor]:
        tops = []
        for index, (shape, filler) in enumerate(zip(self.shapes, self.fillers, strict=True)):
            number = 0 if filler.type == "constant" else k
            top = torch.empty(shape)
            fill(top, filler, rand.key(self.seed, self.layer.key, index, number), self.layer)
            rows = shard.of(shape[0]) if shape else None
            tops.append(top if rows is None else top[rows.start : rows.stop])
        return tops

    def record(self, position: int) -> str:
        return f"filler {self.fillers[0].type}"

    def close(self) -> None:
        pass
