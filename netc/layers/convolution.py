from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, Window, at_least, canonical_axis, count, format_shape, layer
from netc.layers.windows import Geometry, Sizes, check_outputs, fitted, geometry, window_summary

if TYPE_CHECKING:
    from torch import Tensor


class SpatialWeights(Layer):
    """What Convolution and Deconvolution share: channels, groups, geometry, weight and bias."""

    bottoms = at_least(1)
    tops = at_least(1)
    same_count = True
    in_place = False
    param_field = "convolution_param"
    kind = "convolution"
    overwritable = True
    weight_axes = 4
    geometry: Geometry

    def summary(self) -> str | None:
        group = f" g{self.options.group}" if self.options.group > 1 else ""
        bias = "" if self.options.bias_term else ", no bias"
        return f"{window_summary(self.options)}{group}, {self.options.num_output}{bias}"

    def check_bottoms(self, bottoms: Sequence[Shape]) -> int:
        """Check channels and groups, set the geometry; returns the channel axis."""
        first = bottoms[0]
        for shape in bottoms[1:]:
            if shape != first:
                self.fail(
                    f"its bottoms differ in shape: {format_shape(first)} and {format_shape(shape)}",
                    "bottom",
                    code="L302",
                )
        axis = canonical_axis(self, self.options.axis, first, "convolution_param.axis")
        self.geometry = geometry(self, len(first) - axis - 1)
        self._check_groups(first[axis])
        return axis

    def _check_groups(self, channels: int) -> None:
        out, group = self.options.num_output, self.options.group
        if out < 1:
            self.fail("needs a num_output of at least 1", "convolution_param.num_output", "add `num_output: 64`")
        if group < 1:
            self.fail("group is 0", "convolution_param.group", "1 is a convolution without groups")
        if channels % group:
            self.fail(
                f"group {group} does not divide the bottom's {channels} channels",
                "convolution_param.group",
                code="L302",
            )
        if out % group:
            self.fail(f"group {group} does not divide num_output {out}", "convolution_param.group")

    def learn_weights(self, weight: Shape) -> None:
        self.add_param("weight", weight, "convolution_param.weight_filler")
        if self.options.bias_term:
            self.add_param("bias", (self.options.num_output,), "convolution_param.bias_filler")

    def window(self) -> Window | None:
        return self.geometry.window()


@layer("Convolution")
class Convolution(SpatialWeights):
    """y = w ∗ x + b over any number of spatial axes, the channels in `group` independent groups.

    Fields: `num_output`, `bias_term`, `kernel_size` | `kernel_h`, `kernel_w`, `stride…`, `pad…`, `dilation`, `group`,
    `axis` (of the channels; the axes before it are batch), `weight_filler`, `bias_filler`. kernel_size, stride, pad
    and dilation are given once or once for each spatial axis.
    Shapes: (N, C, H, W) → (N, num_output, (H + 2p - d(k - 1) - 1) / s + 1, …), the division truncated toward zero.
    Several bottoms of one shape are convolved with the same weights. Weight (num_output, C / group, kh, kw), bias
    (num_output). Errors: kernel larger than the padded input, group that does not divide, settings that contradict.
    Source: conv_layer.cpp, base_conv_layer.cpp.
    """

    linear = True

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        axis, shape = self.check_bottoms(bottoms), bottoms[0]
        sizes = check_outputs(self, shape, shape[axis + 1 :], self.geometry)
        self.learn_weights((self.options.num_output, shape[axis] // self.options.group, *self.geometry.kernel))
        return [(*shape[:axis], self.options.num_output, *sizes)] * len(bottoms)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        weight, bias = params[0], params[1] if len(params) > 1 else None
        return [self._convolve(x, weight, bias) for x in bottoms]

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        axis = x.dim() - len(self.geometry.kernel) - 1
        flat = x if axis == 1 else x.reshape(-1, *x.shape[axis:])
        y = convolve(fitted(flat, self.geometry), weight, bias, self.geometry, self.options.group)
        return y if axis == 1 else y.reshape(*x.shape[:axis], *y.shape[1:])

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return sum(count(top) for top in tops) * count(self.blobs[0].shape, 1)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, windows: Geometry, group: int) -> Tensor:
    """Convolution of (N, C, …) over as many axes as the geometry has."""
    import torch.nn.functional as F

    axes, rest = len(windows.kernel), (windows.stride, windows.pad, windows.dilation, group)
    if axes == 2:
        return F.conv2d(x, weight, bias, *rest)
    if axes == 1:
        return F.conv1d(x, weight, bias, *rest)
    if axes == 3:
        return F.conv3d(x, weight, bias, *rest)
    if axes == 0:
        return F.conv1d(x[..., None], weight[..., None], bias, groups=group)[..., 0]
    return _slide(x, weight, bias, windows, group)


def _slide(x: Tensor, weight: Tensor, bias: Tensor | None, windows: Geometry, group: int) -> Tensor:
    """More than three axes: the first one is walked by hand, tap by tap; the others are convolved as its batch."""
    import torch.nn.functional as F

    (stride, pad, step), inner = first_axis(windows), inner_axes(windows)
    padded = F.pad(x, [0, 0] * (x.dim() - 3) + [pad, pad])
    length = (padded.shape[2] - step * (weight.shape[2] - 1) - 1) // stride + 1
    total: Tensor | None = None
    for tap in range(weight.shape[2]):
        rows = padded[:, :, tap * step : tap * step + (length - 1) * stride + 1 : stride].movedim(2, 1)
        part = convolve(rows.reshape(-1, *rows.shape[2:]), weight[:, :, tap], bias if tap == 0 else None, inner, group)
        total = part if total is None else total + part
    assert total is not None
    return total.reshape(x.shape[0], length, *total.shape[1:]).movedim(1, 2)


def first_axis(windows: Geometry) -> Sizes:
    """Stride, pad and dilation of the first axis."""
    return windows.stride[0], windows.pad[0], windows.dilation[0]


def inner_axes(windows: Geometry) -> Geometry:
    """The geometry of all axes but the first."""
    return Geometry(windows.kernel[1:], windows.stride[1:], windows.pad[1:], windows.dilation[1:])
