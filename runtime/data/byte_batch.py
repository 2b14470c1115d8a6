"""Pictures on their way to another device: bytes go there, and mean and scale are applied when they have arrived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class ByteBatch:
    """A batch of pictures, cut and flipped: `bytes` (N, C, H, W) uint8, in pinned memory for a GPU. What is subtracted
    from each record's channels is `offsets` (N, C, 1, 1), None for nothing; then all is multiplied by `factor`.
    `whole`: records that are no bytes in the source, finished already, by row.

    Each operation is one rounding of float32, in the same order as `Transform.arithmetic`, so the bits are the same on
    every device. A quarter of the bytes crosses the bus.
    """

    bytes: Tensor
    offsets: Tensor | None = None
    factor: float = 1.0
    whole: dict[int, Tensor] = field(default_factory=dict)

    def to(self, device: Any, non_blocking: bool = False) -> Tensor:
        """The batch in float32 on a device."""
        values = self.bytes.to(device, non_blocking=non_blocking).float()
        if self.offsets is not None:
            values -= self.offsets.to(device, non_blocking=non_blocking)
        if self.factor != 1:
            values *= self.factor
        for row, picture in self.whole.items():
            values[row] = picture.to(device)
        return values


def room(shape: tuple[int, ...], device: str) -> Tensor:
    """Memory for bytes that will go to a device."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=device.startswith("cuda"))
