from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, Window, between, format_shape, layer
from netc.layers.code import Code, Site, same_or_tuple
from netc.layers.functions.windows import pooled_size
from netc.layers.windows import Sizes, checked_sizes, field_of, is_written, window_summary

if TYPE_CHECKING:
    from torch import Tensor

MAX, AVE, STOCHASTIC = 0, 1, 2
LOWEST = -3.4028234663852886e38
"""Of float32."""


@layer("Pooling")
class Pooling(Layer):
    """Maximum or mean over windows of each channel, on a plane or in a volume.

    Fields: `pool` MAX | AVE, `kernel_size` | `kernel_h`, `kernel_w`, `stride…`, `pad…`, `global_pooling`, `round_mode`,
    `clip`. kernel_size, stride and pad are given once or once for each axis.
    Shapes: (N, C, H, W) → (N, C, ceil((H + 2p - k) / s) + 1, …) (floor with `round_mode: FLOOR`), and the same with a
    depth, (N, C, D, H, W), as forks have it; where there is any padding (with `clip`: always), a last window that would
    start beyond H + p is dropped. A second top of MAX gets the position of each maximum, h · W + w.
    MAX never takes padding or NaN; the first of several equal maxima gets the whole gradient. AVE divides by the size
    of the window within H + p: padding counts, what lies beyond it does not. A window with nothing in it gives 0.
    Errors: pad ≥ kernel, kernel larger than the input, 4 or 5 axes needed, STOCHASTIC (Caffe itself has none on a CPU).
    Source: pooling_layer.cpp.
    """

    tops = between(1, 2)
    informative_tops = (1,)
    in_place = False
    param_field = "pooling_param"
    kind = "pooling"
    keeps_zeros = keeps_rms = rounds_up = fresh = True
    kernel: Sizes | None
    stride: Sizes
    pad: Sizes
    ceil: bool
    clip: bool | None
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
        if len(shape) not in (4, 5):
            found = f"needs a bottom of 4 axes (N, C, H, W) or 5 (N, C, D, H, W), found {format_shape(shape)}"
            self.fail(found, "bottom", code="L302")
        self.with_position = len(self.param.top) > 1
        self._read_geometry(len(shape) - 2)
        outputs = self._checked_outputs(shape)
        self.ends_block = outputs != shape[2:]
        return [(*shape[:2], *outputs)] * (1 + self.with_position)

    # -- settings ------------------------------------------------------------------------------------------------------

    def _read_geometry(self, axes: int) -> None:
        self.kernel = None if self.options.global_pooling else checked_sizes(self, "kernel_size", axes)
        self.stride, self.pad = (checked_sizes(self, field, axes) for field in ("stride", "pad"))
        self.clip = self.options.clip if self.options.HasField("clip") else None
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

    def _check_global(self) -> None:
        for name in ("kernel_size", "kernel_h", "kernel_w"):
            if is_written(self.options, name):
                self.fail(
                    f"global_pooling takes the whole plane, but {name} is given",
                    f"pooling_param.{name}",
                    f"drop {name}",
                )
        if set(self.stride) != {1} or any(self.pad):
            wrong = "stride" if set(self.stride) != {1} else "pad"
            self.fail(
                f"global_pooling has one window: {wrong} makes no sense", f"pooling_param.{wrong}", f"drop {wrong}"
            )

    def _checked_outputs(self, shape: Shape) -> Sizes:
        kernel = self.kernel or shape[2:]
        outputs = pooled_size(shape[2:], kernel, self.stride, self.pad, self.ceil, self.clip)
        for axis in range(len(outputs)):
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
            return [x.mean(tuple(range(2, x.dim())), keepdim=True)]
        windows = (self.kernel or tuple(x.shape[2:]), self.stride, self.pad, self.ceil, self.clip)
        if self.with_position:
            return pooling.max_pool_with_position(x, *windows)
        return [pooling.max_pool(x, *windows) if self.options.pool == MAX else pooling.avg_pool(x, *windows)]

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        if self.with_position:
            return None
        most = self.options.pool == MAX
        bottom = self._without_nan(op, x[0]) if most and op.program else x[0]
        if self.kernel is None:
            return [op.GlobalMaxPool(bottom) if most else op.GlobalAveragePool(bottom)]
        form = self._of_any_size if op.any_size else self._of_one_size
        return form(op, bottom, most, shapes[0])

    @staticmethod
    def _without_nan(op: Any, x: Any) -> Any:
        """NaN and -inf as the lowest number: Caffe starts there and takes what is greater."""
        lowest = op.numbers(LOWEST)
        return op.Where(op.Greater(x, lowest), x, lowest)

    def _of_one_size(self, op: Any, x: Any, most: bool, shape: Shape) -> Sequence[Any] | None:
        assert self.kernel is not None
        settings = list(zip(shape[2:], self.kernel, self.stride, self.pad, self._checked_outputs(shape), strict=True))
        filled = [min(windows, -(-(size + pad) // stride)) for size, _, stride, pad, windows in settings]
        if filled != [windows for *_, windows in settings]:
            return None  # windows with nothing in them
        behind = [(w - 1) * stride + k - size - pad for size, k, stride, pad, w in settings]
        common = self._windows([*self.pad, *(max(0, edge) for edge in behind)])
        if most:
            return [op.MaxPool(x, **common)]
        y = op.AveragePool(x, **common, count_include_pad=1)
        return [self._divided(op, y, settings) if any(b > p for b, p in zip(behind, self.pad, strict=True)) else y]

    def _windows(self, pads: Sequence[int]) -> dict[str, list[int]]:
        return {"kernel_shape": list(self.kernel or ()), "strides": list(self.stride), "pads": list(pads)}

    def _of_any_size(self, op: Any, x: Any, most: bool, shape: Shape) -> Sequence[Any] | None:
        """For planes of any size: where rounding up could matter, the padding is computed from the bottom's shape."""
        assert self.kernel is not None
        clips = any(self.pad) if self.clip is None else self.clip
        inside = all(s + p <= k for k, s, p in zip(self.kernel, self.stride, self.pad, strict=True))
        if not (clips or inside or not self.ceil):
            return None  # windows with nothing in them, in images of some sizes
        if not self.ceil or set(self.stride) == {1}:  # no window is left out, none is cut off
            windows = self._windows([*self.pad, *self.pad])
            return [op.MaxPool(x, **windows) if most else op.AveragePool(x, **windows, count_include_pad=1)]
        if most and inside and not any(self.pad):
            return [op.MaxPool(x, **self._windows([*self.pad, *self.pad]), ceil_mode=1)]
        axes = len(self.kernel)
        sizes = op.Shape(x, start=2, end=2 + axes)
        behind = op.Max(self._behind(op, sizes, clips), op.ints([0] * axes))
        windows = self._windows([0] * 2 * axes)
        pads = op.Concat(op.ints([0, 0, *self.pad, 0, 0]), behind, axis=0)
        if most:
            return [op.MaxPool(op.Pad(x, pads, op.numbers(LOWEST)), **windows)]
        # means over windows that are full, by how much of each lies within the image and its padding
        within = op.Concat(op.ints([1, 1]), op.Add(sizes, op.ints(2 * pad for pad in self.pad)), axis=0)
        edges = op.Concat(op.ints([0] * (4 + axes)), op.Sub(behind, op.ints(self.pad)), axis=0)
        share = op.AveragePool(op.Pad(op.Expand(op.numbers(1), within), edges), **windows)
        return [op.Div(op.AveragePool(op.Pad(x, pads), **windows), share)]

    def _behind(self, op: Any, sizes: Any, clips: bool) -> Any:
        """How far the last windows reach beyond the image: `pooled_size`, computed by the model."""
        assert self.kernel is not None
        kernel, stride, pad = (op.ints(given) for given in (self.kernel, self.stride, self.pad))
        padded = op.Add(sizes, pad)
        spans = op.Sub(op.Add(padded, pad), kernel)
        upwards = op.ints(step - 1 for step in self.stride)
        windows = op.Add(op.Div(op.Add(spans, upwards), stride), op.ints([1]))
        if clips:
            windows = op.Min(windows, op.Div(op.Add(padded, upwards), stride))
        last = op.Mul(op.Sub(windows, op.ints([1])), stride)
        return op.Sub(op.Add(last, kernel), padded)

    @staticmethod
    def _divided(op: Any, y: Any, settings: Sequence[Sequence[int]]) -> Any:
        """Means over whole windows as means over what lies within the padded image."""
        import numpy as np

        for axis, (size, kernel, stride, pad, windows) in enumerate(settings, 2):
            start = np.arange(windows) * stride - pad
            lengths = np.minimum(start + kernel, size + pad) - start
            y = op.Mul(y, op.numbers((kernel / lengths).reshape(-1, *[1] * (len(settings) + 1 - axis))))
        return y

    def emit(self, site: Site) -> Code:
        name, axes = "max_pool" if self.options.pool == MAX else "avg_pool", len(site.shape) - 2
        if self.kernel is None and not self.with_position:
            whole = f"{site.x}.mean({tuple(range(2, axes + 2))}, keepdim=True)"
            return Code(whole if self.options.pool == AVE else f"F.max_pool{axes}d({site.x}, {site.x}.shape[2:])")
        kernel = self.kernel or site.shape[2:]
        arguments = [site.x, f"{same_or_tuple(kernel)}", f"stride={same_or_tuple(self.stride)}"]
        arguments += [f"padding={same_or_tuple(self.pad)}"] if any(self.pad) else []
        arguments += ["ceil_mode=True"] if self.ceil and set(self.stride) != {1} else []
        is_torchs = not self.with_position and self._is_torchs()
        if self.clip is not None and not is_torchs:
            arguments.append(f"clip={self.clip}")
        if self.with_position:
            return Code(f"max_pool_with_position({', '.join(arguments)})", together=True)
        return Code(f"{f'F.{name}{axes}d' if is_torchs else name}({', '.join(arguments)})")

    def _is_torchs(self) -> bool:
        """Whether torch's padding and ceil_mode are Caffe's for images of any size: a pad of at most half the kernel,
        and no window that could start behind the image (torch leaves it out; Caffe, without a pad, does not)."""
        assert self.kernel is not None
        within = all(2 * pad <= kernel for pad, kernel in zip(self.pad, self.kernel, strict=True))
        reached = all(stride <= kernel for stride, kernel in zip(self.stride, self.kernel, strict=True))
        clip = any(self.pad) if self.clip is None else self.clip
        return within and (not self.ceil or clip or (reached and not any(self.pad)))

    def takes_any_form(self) -> bool:
        return bool(self.options.pool == MAX) and not self.with_position  # places are no numbers for bfloat16

    def window(self) -> Window | None:
        if self.kernel is None:
            return None
        kernel, stride, pad = ((sizes[-2], sizes[-1]) for sizes in (self.kernel, self.stride, self.pad))
        return Window(kernel, stride, pad)

    def sees_whole_plane(self) -> bool:
        return self.kernel is None
