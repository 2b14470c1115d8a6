from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, Window, between, check_planes, format_shape, layer
from netc.layers.code import Code, Site, same_or_tuple
from netc.layers.functions.windows import pooled_size
from netc.layers.windows import checked_sizes, field_of, window_summary

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
    informative_tops = (1,)
    in_place = False
    param_field = "pooling_param"
    kind = "pooling"
    keeps_zeros = keeps_rms = rounds_up = True
    kernel: Pair | None
    stride: Pair
    pad: Pair
    ceil: bool
    with_position: bool

    def summary(self) -> str | None:
        windows = "global" if self.options.global_pooling else window_summary(self.options)
        return f"{self.choice('pool')} {windows}"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottoms[0]
        if self.options.pool == STOCHASTIC:
            self.fail("stochastic pooling is not available", "pooling_param.pool", "take MAX or AVE")
        if len(self.param.top) > 1 and self.options.pool != MAX:
            self.fail("only MAX has a second top", "top[1]", "the second top is the position of each maximum")
        check_planes(self, shape)
        self.with_position = len(self.param.top) > 1
        self._read_geometry()
        outputs = self._checked_outputs(shape)
        self.ends_block = outputs != shape[2:]
        return [(*shape[:2], *outputs)] * (1 + self.with_position)

    # -- settings ------------------------------------------------------------------------------------------------------

    def _read_geometry(self) -> None:
        self.kernel = None if self.options.global_pooling else self._pair("kernel_size")
        self.stride, self.pad = self._pair("stride"), self._pair("pad")
        self.ceil = self.options.global_pooling or not self.options.round_mode
        if self.kernel is None:
            self._check_global()
            return
        for axis, (pad, kernel) in enumerate(zip(self.pad, self.kernel, strict=True)):
            if pad >= kernel:
                self.fail(
                    f"pad {pad} is not less than the kernel, {kernel}",
                    field_of(self, "pad", axis),
                    f"take a pad of at most {kernel - 1}: a window must touch the image",
                )

    def _pair(self, field: str) -> Pair:
        height, width = checked_sizes(self, field, 2)
        return height, width

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

    def _checked_outputs(self, shape: Shape) -> Pair:
        kernel = self.kernel or (shape[2], shape[3])
        outputs = pooled_size(shape[2:], kernel, self.stride, self.pad, self.ceil)
        for axis in (0, 1):
            if outputs[axis] < 1:
                self.fail(
                    f"kernel {kernel[axis]} does not fit the bottom, {format_shape(shape)}, with pad {self.pad[axis]}",
                    field_of(self, "kernel_size", axis),
                    "take a smaller kernel or larger images",
                    "L302",
                )
        return outputs

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import pooling

        x = bottoms[0]
        if self.kernel is None and self.options.pool == AVE:
            return [x.mean((2, 3), keepdim=True)]
        windows = (self.kernel or (x.shape[2], x.shape[3]), self.stride, self.pad, self.ceil)
        if self.with_position:
            return pooling.max_pool_with_position(x, *windows)
        return [pooling.max_pool(x, *windows) if self.options.pool == MAX else pooling.avg_pool(x, *windows)]

    def emit(self, site: Site) -> Code:
        name = "max_pool" if self.options.pool == MAX else "avg_pool"
        if self.kernel is None and not self.with_position:
            whole = f"{site.x}.mean((2, 3), keepdim=True)"
            return Code(whole if self.options.pool == AVE else f"F.max_pool2d({site.x}, {site.x}.shape[2:])")
        kernel = self.kernel or (site.shape[2], site.shape[3])
        arguments = [site.x, f"{same_or_tuple(kernel)}", f"stride={same_or_tuple(self.stride)}"]
        arguments += [f"padding={same_or_tuple(self.pad)}"] if any(self.pad) else []
        arguments += ["ceil_mode=True"] if self.ceil and self.stride != (1, 1) else []
        if self.with_position:
            return Code(f"max_pool_with_position({', '.join(arguments)})", together=True)
        return Code(f"{f'F.{name}2d' if self._is_torchs() else name}({', '.join(arguments)})")

    def _is_torchs(self) -> bool:
        """Whether torch's padding and ceil_mode are Caffe's for images of any size: a pad of at most half the kernel,
        and no window that could start behind the image (torch leaves it out; Caffe, without a pad, does not)."""
        assert self.kernel is not None
        within = all(2 * pad <= kernel for pad, kernel in zip(self.pad, self.kernel, strict=True))
        reached = all(stride <= kernel for stride, kernel in zip(self.stride, self.kernel, strict=True))
        return within and (any(self.pad) or not self.ceil or reached)

    def window(self) -> Window | None:
        return None if self.kernel is None else Window(self.kernel, self.stride, self.pad)

    def sees_whole_plane(self) -> bool:
        return self.kernel is None
