from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, Window, between, format_shape, layer

if TYPE_CHECKING:
    from torch import Tensor

MAX, AVE, STOCHASTIC = 0, 1, 2
Pair = tuple[int, int]


@layer("Pooling")
class Pooling(Layer):
    """Maximum or mean over windows of each channel.

    Fields: `pool` MAX | AVE, `kernel_size` | `kernel_h`, `kernel_w`, `stride…`, `pad…`, `global_pooling`, `round_mode`.
    Shapes: (N, C, H, W) → (N, C, ceil((H + 2p - k) / s) + 1, …) (floor with `round_mode: FLOOR`); where there is
    any padding, a last window that would start beyond H + p is dropped. A second top of MAX gets the position of each
    maximum, h · W + w.
    MAX never takes padding or NaN; the first of several equal maxima gets the whole gradient. AVE divides by the size
    of the window within H + p: padding counts, what lies beyond it does not. A window with nothing in it gives 0.
    Errors: pad ≥ kernel, kernel larger than the input, 4 axes needed, STOCHASTIC (Caffe itself has none on a CPU).
    Source: pooling_layer.cpp.
    """

    tops = between(1, 2)
    in_place = False
    param_field = "pooling_param"
    kernel: Pair | None
    stride: Pair
    pad: Pair

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottoms[0]
        if self.options.pool == STOCHASTIC:
            self.fail("stochastic pooling is not available", "pooling_param.pool", "take MAX or AVE")
        if len(self.param.top) > 1 and self.options.pool != MAX:
            self.fail("only MAX has a second top", "top[1]", "the second top is the position of each maximum")
        if len(shape) != 4:
            self.fail(f"needs a bottom of 4 axes (N, C, H, W), found {format_shape(shape)}", "bottom", code="L302")
        self._read_geometry()
        outputs = self._checked_outputs(shape)
        return [(*shape[:2], *outputs)] * len(self.param.top)

    # -- settings ------------------------------------------------------------------------------------------------------

    def _read_geometry(self) -> None:
        self.kernel = None if self.options.global_pooling else self._pair("kernel", "kernel_size")
        self.stride = self._pair("stride", "stride")
        self.pad = self._pair("pad", "pad")
        if self.options.global_pooling:
            self._check_global()
            return
        assert self.kernel is not None
        for axis in (0, 1):
            sizes = (("kernel", "kernel_size", self.kernel[axis]), ("stride", "stride", self.stride[axis]))
            for stem, field, size in sizes:
                if size < 1:
                    self.fail(f"{stem} {size}", self._field(stem, field, axis), f"give a {stem} of at least 1")
            if self.pad[axis] >= self.kernel[axis]:
                self.fail(
                    f"pad {self.pad[axis]} is not less than the kernel, {self.kernel[axis]}",
                    self._field("pad", "pad", axis),
                    f"take a pad of at most {self.kernel[axis] - 1}: a window must touch the image",
                )

    def _check_global(self) -> None:
        for name in ("kernel_size", "kernel_h", "kernel_w"):
            if self.options.HasField(name):
                self.fail(
                    f"global_pooling takes the whole plane, but {name} is given",
                    f"pooling_param.{name}",
                    f"drop {name}",
                )
        if self.stride != (1, 1) or self.pad != (0, 0):
            wrong = "stride" if self.stride != (1, 1) else "pad"
            self.fail(
                f"global_pooling has one window: {wrong} makes no sense", f"pooling_param.{wrong}", f"drop {wrong}"
            )

    def _pair(self, stem: str, field: str) -> Pair:
        """A size that is given as one field for both axes, or as stem_h and stem_w."""
        names = (f"{stem}_h", f"{stem}_w")
        given = [name for name in names if self.options.HasField(name)]
        both = self.options.HasField(field)
        if (both and given) or len(given) == 1:
            self.fail(
                f"gives {' and '.join(([field] if both else []) + given)}",
                f"pooling_param.{given[0]}",
                f"give {field}, or both {names[0]} and {names[1]}",
            )
        if stem == "kernel" and not both and not given:
            self.fail("has no kernel_size", "pooling_param", "add `kernel_size: 2`, or `global_pooling: true`")
        value = int(getattr(self.options, field))
        return (int(getattr(self.options, names[0])), int(getattr(self.options, names[1]))) if given else (value, value)

    def _field(self, stem: str, field: str, axis: int) -> str:
        return "pooling_param." + (field if self.options.HasField(field) else f"{stem}_{'hw'[axis]}")

    def _checked_outputs(self, shape: Shape) -> Pair:
        outputs, kernel = self.outputs(shape[2], shape[3]), self.kernel or (1, 1)
        for axis in (0, 1):
            if outputs[axis] < 1:
                self.fail(
                    f"kernel {kernel[axis]} does not fit the bottom, {format_shape(shape)}, with pad {self.pad[axis]}",
                    self._field("kernel", "kernel_size", axis),
                    "take a smaller kernel or larger images",
                    "L302",
                )
        return outputs

    def outputs(self, height: int, width: int) -> Pair:
        """Output height and width. The clip looks at both axes as soon as one of them is padded."""
        if self.kernel is None:
            return (1, 1)
        clip = any(self.pad)
        return self._output(height, 0, clip), self._output(width, 1, clip)

    def _output(self, size: int, axis: int, clip: bool) -> int:
        assert self.kernel is not None
        kernel, stride, pad = self.kernel[axis], self.stride[axis], self.pad[axis]
        span = size + 2 * pad - kernel
        steps = span // stride if self.options.round_mode else -(-span // stride)
        return steps if clip and steps * stride >= size + pad else steps + 1

    # -- running -------------------------------------------------------------------------------------------------------

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x = bottoms[0]
        if self.options.pool == AVE:
            return [self._average(x)]
        return self._maximum(x) if len(self.param.top) > 1 else [self._maximum_only(x)]

    def _maximum_only(self, x: Tensor) -> Tensor:
        import torch
        import torch.nn.functional as F

        if self.kernel is None or not self._is_torchs(x):
            return self._maximum(x)[0]
        if torch.compiler.is_compiling() or x.device.type != "cpu":
            return F.max_pool2d(_without_nan(x), self.kernel, self.stride, self.pad, 1, self._ceil)
        y = F.max_pool2d(x, self.kernel, self.stride, self.pad, 1, self._ceil)
        # torch lets NaN win, Caffe never; on a CPU it is cheaper to look at the output than to clean the input
        return y if not math.isnan(y.detach().sum()) else self._maximum(x)[0]

    def _maximum(self, x: Tensor) -> list[Tensor]:
        """Values and positions, by explicit padding: any pad, any geometry."""
        import torch
        import torch.nn.functional as F

        height, width = x.shape[2:]
        kernel, (high, wide) = self.kernel or (height, width), self.outputs(height, width)
        rows, columns = self._filled(height, 0), self._filled(width, 1)
        top, left = self.pad
        bottom = (rows - 1) * self.stride[0] + kernel[0] - height - top
        right = (columns - 1) * self.stride[1] + kernel[1] - width - left
        lowest = torch.finfo(x.dtype).min
        padded = F.pad(_without_nan(x), (left, right, top, bottom), value=lowest)
        y, index = F.max_pool2d(padded, kernel, self.stride, return_indices=True)
        across = width + left + right
        position = (index // across - top) * width + index % across - left
        position = torch.where(y > lowest, position, -1).to(x.dtype)
        if (rows, columns) == (high, wide):
            return [y, position]
        empty = (0, wide - columns, 0, high - rows)
        return [F.pad(y, empty), F.pad(position, empty, value=-1.0)]

    def _average(self, x: Tensor) -> Tensor:
        import torch.nn.functional as F

        if self.kernel is None:
            return x.mean((2, 3), keepdim=True)
        if self._is_torchs(x):
            return F.avg_pool2d(x, self.kernel, self.stride, self.pad, self._ceil)
        return self._average_by_padding(x)

    def _average_by_padding(self, x: Tensor) -> Tensor:
        import torch.nn.functional as F

        assert self.kernel is not None
        height, width = x.shape[2:]
        high, wide = self.outputs(height, width)
        rows, columns = self._filled(height, 0), self._filled(width, 1)
        top, left = self.pad
        bottom = (rows - 1) * self.stride[0] + self.kernel[0] - height - top
        right = (columns - 1) * self.stride[1] + self.kernel[1] - width - left
        sums = F.avg_pool2d(F.pad(x, (left, right, top, bottom)), self.kernel, self.stride, divisor_override=1)
        areas = self._lengths(height, rows, 0, x)[:, None] * self._lengths(width, columns, 1, x)
        return F.pad(sums / areas, (0, wide - columns, 0, high - rows))

    def _lengths(self, size: int, windows: int, axis: int, like: Tensor) -> Tensor:
        """Length of each window along an axis, cut at size + pad: the divisor's factor."""
        import torch

        assert self.kernel is not None
        start = torch.arange(windows, device=like.device) * self.stride[axis] - self.pad[axis]
        end = (start + self.kernel[axis]).clamp(max=size + self.pad[axis])
        return (end - start).to(like.dtype)

    def _filled(self, size: int, axis: int) -> int:
        """The number of windows along an axis that start within the image: all but, without padding, the last."""
        if self.kernel is None:
            return 1
        windows = self._output(size, axis, any(self.pad))
        return min(windows, -(-(size + self.pad[axis]) // self.stride[axis]))

    def _is_torchs(self, x: Tensor) -> bool:
        """Whether torch's own padding and ceil_mode give Caffe's windows: pad ≤ kernel / 2 and no clip that differs."""
        assert self.kernel is not None
        height, width = x.shape[2:]
        return all(2 * p <= k for p, k in zip(self.pad, self.kernel, strict=True)) and (
            self.outputs(height, width) == (self._torch_output(height, 0), self._torch_output(width, 1))
        )

    def _torch_output(self, size: int, axis: int) -> int:
        return self._output(size, axis, clip=self._ceil)

    @property
    def _ceil(self) -> bool:
        return not self.options.round_mode

    # -- geometry for the analysis -------------------------------------------------------------------------------------

    def window(self) -> Window | None:
        return None if self.kernel is None else Window(self.kernel, self.stride, self.pad)

    def whole(self) -> bool:
        return self.kernel is None


def _without_nan(x: Tensor) -> Any:
    """NaN and infinities as the extreme finite numbers, as Caffe's comparisons treat them."""
    return x.nan_to_num(nan=_lowest(x), neginf=_lowest(x), posinf=math.inf)


def _lowest(x: Tensor) -> float:
    import torch

    return torch.finfo(x.dtype).min
