"""Maximum and mean over windows of two axes, with Caffe's window arithmetic (pooling_layer.cpp)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pool:
    """Windows over (height, width). `ceil`: a last window that is not full counts, as Caffe has it by default."""

    kernel: Pair
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    ceil: bool = True

    def outputs(self, height: int, width: int) -> Pair:
        """Output height and width. The clip looks at both axes as soon as one of them is padded."""
        clip = any(self.pad)
        return self._output(height, 0, clip), self._output(width, 1, clip)

    def _output(self, size: int, axis: int, clip: bool) -> int:
        span = size + 2 * self.pad[axis] - self.kernel[axis]
        steps = -(-span // self.stride[axis]) if self.ceil else span // self.stride[axis]
        return steps if clip and steps * self.stride[axis] >= size + self.pad[axis] else steps + 1

    # -- maximum -------------------------------------------------------------------------------------------------------

    def maximum(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the maximum of each window."""
        import torch
        import torch.nn.functional as F

        if not self._is_torchs(x):
            return self.maximum_and_position(x)[0]
        if torch.compiler.is_compiling() or x.device.type != "cpu":
            return F.max_pool2d(_without_nan(x), self.kernel, self.stride, self.pad, 1, self.ceil)
        y = F.max_pool2d(x, self.kernel, self.stride, self.pad, 1, self.ceil)
        # torch lets NaN win, and -inf among nothing else; Caffe neither. It is cheaper to look at the output on a CPU
        # than to clean the input
        return y if math.isfinite(y.detach().sum()) else self.maximum_and_position(x)[0]

    def maximum_and_position(self, x: Tensor) -> list[Tensor]:
        """Maxima and their places h · W + w (-1 for none), by explicit padding: any pad, any geometry."""
        import torch
        import torch.nn.functional as F

        height, width = x.shape[2:]
        rows, columns = self._filled(height, 0), self._filled(width, 1)
        top, left = self.pad
        bottom, right = self._pad_after(height, rows, 0), self._pad_after(width, columns, 1)
        lowest = torch.finfo(x.dtype).min
        padded = F.pad(_without_nan(x), (left, right, top, bottom), value=lowest)
        y, index = F.max_pool2d(padded, self.kernel, self.stride, return_indices=True)
        across = left + width + right
        place = (index // across - top) * width + index % across - left
        place = torch.where(y > lowest, place, -1).to(x.dtype)
        empty = self._empty(height, width, rows, columns)
        return [F.pad(y, empty), F.pad(place, empty, value=-1.0)] if any(empty) else [y, place]

    # -- mean ----------------------------------------------------------------------------------------------------------

    def mean(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the mean of each window, padding within H + p counted."""
        import torch.nn.functional as F

        if self._is_torchs(x):
            return F.avg_pool2d(x, self.kernel, self.stride, self.pad, self.ceil)
        height, width = x.shape[2:]
        rows, columns = self._filled(height, 0), self._filled(width, 1)
        top, left = self.pad
        bottom, right = self._pad_after(height, rows, 0), self._pad_after(width, columns, 1)
        sums = F.avg_pool2d(F.pad(x, (left, right, top, bottom)), self.kernel, self.stride, divisor_override=1)
        areas = self._lengths(height, rows, 0, x)[:, None] * self._lengths(width, columns, 1, x)
        return F.pad(sums / areas, self._empty(height, width, rows, columns))

    def _lengths(self, size: int, windows: int, axis: int, like: Tensor) -> Tensor:
        """Length of each window along an axis, cut at size + pad: the divisor's factor."""
        import torch

        start = torch.arange(windows, device=like.device) * self.stride[axis] - self.pad[axis]
        end = (start + self.kernel[axis]).clamp(max=size + self.pad[axis])
        return (end - start).to(like.dtype)

    # -- windows -------------------------------------------------------------------------------------------------------

    def _filled(self, size: int, axis: int) -> int:
        """The number of windows along an axis that start within the image: all but, without padding, the last."""
        windows = self._output(size, axis, any(self.pad))
        return min(windows, -(-(size + self.pad[axis]) // self.stride[axis]))

    def _pad_after(self, size: int, windows: int, axis: int) -> int:
        """What the last of so many windows needs behind the image (negative: what no window reaches)."""
        return (windows - 1) * self.stride[axis] + self.kernel[axis] - size - self.pad[axis]

    def _empty(self, height: int, width: int, rows: int, columns: int) -> tuple[int, int, int, int]:
        """Padding of the output for the windows with nothing in them."""
        high, wide = self.outputs(height, width)
        return (0, wide - columns, 0, high - rows)

    def _is_torchs(self, x: Tensor) -> bool:
        """Whether torch's own padding and ceil_mode give Caffe's windows: pad ≤ kernel / 2 and no clip that differs."""
        height, width = x.shape[2:]
        return all(2 * p <= k for p, k in zip(self.pad, self.kernel, strict=True)) and (
            self.outputs(height, width) == (self._output(height, 0, self.ceil), self._output(width, 1, self.ceil))
        )


def _without_nan(x: Tensor) -> Tensor:
    """NaN and -inf as the lowest finite number: Caffe starts there and takes what is greater."""
    import torch

    lowest = torch.finfo(x.dtype).min
    return x.where(x > lowest, lowest)
