"""In which precision and layout of memory a net computes: what each layer is handed as its bottoms and parameters.

Parameters are float32 in memory and in files, whatever is computed from them, and so are their gradients: convolutions
and inner products get copies of them, rounded or laid out anew, through which the gradient comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netc.errors import NetcError
from netc.layers.base import Layer

FP32, TF32, BF16 = "fp32", "tf32", "bf16"
PRECISIONS = (FP32, TF32, BF16)


@dataclass(frozen=True, slots=True)
class Computing:
    """`precision`: "bf16" rounds what convolutions and inner products multiply to bfloat16, and their sums when they
    are written; "tf32" lets a GPU round it to 10 bits of mantissa. All other layers compute in float32, losses
    included. `channels_last`: blobs of 4 axes lie in memory pixel by pixel; their shapes are Caffe's.
    """

    precision: str = FP32
    channels_last: bool = False

    @property
    def plain(self) -> bool:
        """Whether every layer gets its bottoms and parameters as they are."""
        return self.precision != BF16 and not self.channels_last

    def given(self, layer: Layer, bottoms: list[Tensor], params: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What a layer computes with."""
        if layer.multiplies:
            return [self._factor(x) for x in bottoms], [self._laid_out(self._factor(x)) for x in params]
        return (bottoms if layer.takes_any_form() else [plain(x) for x in bottoms]), params

    def _factor(self, x: Tensor) -> Tensor:
        return x.to(torch.bfloat16) if self.precision == BF16 and x.is_floating_point() else x

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last and x.dim() == 4 else x

    def conditions(self) -> dict[str, str]:
        """What the bits of a result depend on."""
        return {"precision": self.precision, "layout": "channels last" if self.channels_last else "channels first"}


EXACT = Computing()
"""As Caffe computes: float32, blobs in Caffe's order."""


def plain(x: Tensor) -> Tensor:
    """A blob as those who know nothing of all this take it."""
    x = x.float() if x.dtype == torch.bfloat16 else x
    return x.contiguous() if x.dim() == 4 else x


def computing(precision: str, channels_last: bool | None, device: str) -> Computing:
    """How to compute on a device; `channels_last` None: as was measured to be fastest there (docs/training.md).
    Raises NetcError R700 for a precision that there is not."""
    check_precision(precision)
    return Computing(precision, _faster(precision, device) if channels_last is None else channels_last)


def check_precision(precision: Any) -> None:
    """Raise NetcError R700 for a precision that there is not."""
    if precision not in PRECISIONS:
        raise NetcError("R700", f'there is no precision "{precision}"', None, f"take one of {', '.join(PRECISIONS)}")


def _faster(precision: str, device: str) -> bool:
    """Whether channels-last is: on a CPU for every net that was measured, on a GPU with its matrix units."""
    return device == "cpu" or precision != FP32
