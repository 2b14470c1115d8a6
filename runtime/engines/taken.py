"""Whether weights still are what a program was made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netc.runtime.net.steps import Step

SAMPLES = 8
"""Values of each parameter that are compared, too: torch counts no writes through `.data` or a numpy view."""


class Taken:
    """The parameters of some steps as a program took them."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._places = [place for step in steps for place in step.params]
        self._marks = self._now()
        plain = (x for x in self._tensors() if x.device.type == "cpu" and x.dtype is torch.float32)
        self._views = [_sampled(tensor) for tensor in plain]
        self._samples = self._sampled_now()

    def changed(self) -> bool:
        """Whether a parameter has been written to, replaced or moved since."""
        return self._now() != self._marks or self._sampled_now() != self._samples

    def _tensors(self) -> list[Tensor]:
        return [_held(holder, name) for holder, name in self._places]

    def _now(self) -> list[tuple[int, int]]:
        return [(x.data_ptr(), 0 if x.is_inference() else x._version) for x in self._tensors()]

    def _sampled_now(self) -> bytes:
        return np.concatenate(self._views).tobytes() if self._views else b""


def _held(holder: nn.Module, name: str) -> Tensor:
    """Without the detour of `nn.Module.__getattr__`, for it is asked in every pass."""
    found: Any = holder._parameters.get(name)
    return found if found is not None else holder._buffers[name]  # type: ignore[return-value]


def _sampled(tensor: Tensor) -> Any:
    """A view of some of its values."""
    flat = tensor.detach().reshape(-1)
    step = max(1, (flat.numel() - 1) // (SAMPLES - 1))
    return flat[::step].numpy()
