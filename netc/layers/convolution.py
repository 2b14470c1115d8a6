from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from netc.layers.affine import Affine, doubles, singles
from netc.layers.base import Layer, Run, Shape, Window, at_least, canonical_axis, count, format_shape, layer
from netc.layers.code import Code, Site, call, same_or_tuple
from netc.layers.windows import Geometry, check_outputs, fitted, geometry, window_summary

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
    multiplies = overwritable = fresh = True
    weight_axes = 4
    geometry: Geometry
    spatial: ClassVar[str]
    """torch's module, but for the number of its axes ("nn.Conv")."""
    pointwise: ClassVar[str]
    """The module where there is no axis but batch and channels."""

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

    # -- affine layers around it ---------------------------------------------------------------------------------------

    def with_affine_behind(self, arrays: Sequence[Any], affine: Affine, top: Shape) -> list[Any] | str:
        weight, *bias = doubles(*arrays)
        found = affine.on(len(top) - len(self.geometry.kernel) - 1, top)
        if found is None:
            return "it varies on an axis that is not that of the channels"
        factor, summand = found
        shifted = [(bias[0] if bias else 0) * factor + summand] if bias or affine.shifts else []
        return singles([self._times(weight, factor, outputs=True), *shifted])

    def with_affine_before(self, arrays: Sequence[Any], affine: Affine, bottom: Shape) -> list[Any] | str:
        weight, *bias = doubles(*arrays)
        axis = len(bottom) - len(self.geometry.kernel) - 1
        found = affine.on(axis, bottom)
        if found is None:
            return "it varies on an axis that is not that of the channels"
        factor, summand = found
        if not affine.shifts:
            return singles([self._times(weight, factor, outputs=False), *bias])
        if self.transposed or any(self.geometry.pad) or not self.geometry.fits(bottom[axis + 1 :]):
            return "it adds, and the zeros around the image do not change with it"
        added = self._summed(self._times(weight, summand, outputs=False))
        return singles([self._times(weight, factor, outputs=False), (bias[0] if bias else 0) + added])

    def _times(self, weight: Any, factor: Any, outputs: bool) -> Any:
        """The weights, each times the number of its output channel, or of its input channel."""
        group, kernel = self.options.group, weight.shape[2:]
        split = weight.reshape(group, weight.shape[0] // group, weight.shape[1], *kernel)
        rows = outputs != self.transposed  # a transposed weight has the inputs first
        places = (group, -1, 1) if rows else (group, 1, -1)
        return (split * factor.reshape(*places, *[1] * len(kernel))).reshape(weight.shape)

    @staticmethod
    def _summed(weight: Any) -> Any:
        """Of each output channel, the sum of its weights."""
        return weight.sum(tuple(range(1, weight.ndim)))

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        axes = len(self.geometry.kernel)
        if len(shapes[0]) != axes + 2 or not 1 <= axes <= 3:
            return None
        if not self.transposed and not self.geometry.fits(shapes[0][2:]):
            return None
        windows = self.geometry
        settings = {
            "kernel_shape": list(windows.kernel),
            "strides": list(windows.stride),
            "pads": [*windows.pad, *windows.pad],
            "dilations": list(windows.dilation),
            "group": self.options.group,
        }
        kind = op.ConvTranspose if self.transposed else op.Conv
        return [kind(one, *params, **settings) for one in x]

    # -- emitted code --------------------------------------------------------------------------------------------------

    def emit(self, site: Site) -> Code:
        """torch's module, called on each bottom."""
        axes, group = len(self.geometry.kernel), self.options.group
        if axes > 3:
            self.no_module(f"torch has no convolution over {axes} axes", "convolution_param")
        if axes == 0 and group > 1:
            hint = "take a kernel of 1 on an axis of 1"
            self.no_module("groups without a spatial axis", "convolution_param.group", hint)
        axis = len(site.shape) - axes - 1
        settings = self._settings() if axes else {}
        settings |= {} if self.options.bias_term else {"bias": False}
        module = f"{self.spatial}{axes}d" if axes else self.pointwise
        calls = tuple(self._called(site, x, axis if axes else 0) for x in site.bottoms)
        return Code(calls, call(module, site.shape[axis], self.options.num_output, **settings))

    def _settings(self) -> dict[str, object]:
        windows, group = self.geometry, self.options.group
        given = {"stride": (windows.stride, 1), "padding": (windows.pad, 0), "dilation": (windows.dilation, 1)}
        changed = {name: same_or_tuple(sizes) for name, (sizes, default) in given.items() if set(sizes) != {default}}
        return {"kernel_size": same_or_tuple(windows.kernel), **changed, **({"groups": group} if group != 1 else {})}

    def _called(self, site: Site, x: str, axis: int) -> str:
        """Several axes before that of the channels are made one and taken apart again (none at all torch takes)."""
        given = self.fitted(x, site.shape)
        if axis <= 1:
            return site.call(given)
        return f"{site.call(f'{given}.flatten(0, {axis - 1})')}.unflatten(0, {x}.shape[:{axis}])"

    def fitted(self, x: str, shape: Shape) -> str:
        """The expression of a bottom that is large enough for a window."""
        return x


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
    spatial = "nn.Conv"
    pointwise = "nn.Linear"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        axis, shape = self.check_bottoms(bottoms), bottoms[0]
        sizes = check_outputs(self, shape, shape[axis + 1 :], self.geometry)
        self.from_matrix = self.options.group == 1
        self.learn_weights((self.options.num_output, shape[axis] // self.options.group, *self.geometry.kernel))
        return [(*shape[:axis], self.options.num_output, *sizes)] * len(bottoms)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        weight, bias = params[0], params[1] if len(params) > 1 else None
        return [self._convolve(x, weight, bias) for x in bottoms]

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        from netc.layers.functions import convolution

        axis = x.dim() - len(self.geometry.kernel) - 1
        flat = x if axis == 1 else x.reshape(-1, *x.shape[axis:])
        x_fitted = convolution.at_least(flat, self.geometry.least)
        y = convolution.convolve(x_fitted, weight, bias, self.options.group, *self.geometry.steps)
        return y if axis == 1 else y.reshape(*x.shape[:axis], *y.shape[1:])

    def fitted(self, x: str, shape: Shape) -> str:
        return fitted(x, shape, self.geometry)

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return sum(count(top) for top in tops) * count(self.blobs[0].shape, 1)
