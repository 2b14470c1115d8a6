"""Kernel, stride, pad and dilation: the rules Convolution, Deconvolution and Im2col share (base_conv_layer.cpp)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.layers.base import Layer, Shape, Window, format_shape
from netc.layers.code import call, literal

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """One number for each spatial axis."""

    kernel: Sizes
    stride: Sizes
    pad: Sizes
    dilation: Sizes
    extent: Sizes
    """How far a window reaches, dilation counted."""
    least: Sizes
    """The smallest input that holds a window within its padding."""

    @property
    def steps(self) -> tuple[Sizes, Sizes, Sizes]:
        """(stride, pad, dilation), as the functions take them."""
        return self.stride, self.pad, self.dilation

    def fits(self, sizes: Sequence[int]) -> bool:
        """Whether a window lies within the padded input."""
        return all(size >= least for size, least in zip(sizes, self.least, strict=True))

    def outputs(self, sizes: Sequence[int]) -> Sizes:
        """Output sizes. The division truncates toward zero, as C++'s does: a kernel that is a little larger than the
        padded input still gives one output where the stride exceeds the excess."""
        return tuple(
            int((size + 2 * p - e) / s) + 1 if size + 2 * p < e else (size + 2 * p - e) // s + 1
            for size, p, e, s in zip(sizes, self.pad, self.extent, self.stride, strict=True)
        )

    def window(self) -> Window | None:
        """The two last axes, for the receptive field."""
        if not self.kernel:
            return None
        return Window(_pair(self.kernel, 1), _pair(self.stride, 1), _pair(self.pad, 0), _pair(self.dilation, 1))


def _pair(sizes: Sizes, absent: int) -> tuple[int, int]:
    return (sizes[-2] if len(sizes) > 1 else absent, sizes[-1])


def geometry(layer: Layer, spatial: int) -> Geometry:
    """The layer's geometry over `spatial` axes; fails where the fields contradict each other or the axes."""
    kernel = _sizes(layer, "kernel", "kernel_size", spatial, None)
    stride = _sizes(layer, "stride", "stride", spatial, 1)
    pad = _sizes(layer, "pad", "pad", spatial, 0)
    dilation = _dilation(layer, spatial)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    least = tuple(e - 2 * p for e, p in zip(extent, pad, strict=True))
    return Geometry(kernel, stride, pad, dilation, extent, least)


def _sizes(layer: Layer, stem: str, field: str, spatial: int, default: int | None) -> Sizes:
    options, listed = layer.options, getattr(layer.options, field)[:]
    given = [name for name in (f"{stem}_h", f"{stem}_w") if options.HasField(name)]
    if not given:
        values = _repeated(layer, field, listed, spatial, default)
    else:
        _check_pair(layer, stem, field, given, listed, spatial)
        values = tuple(int(getattr(options, name)) for name in (f"{stem}_h", f"{stem}_w"))
    if stem != "pad" and 0 in values:
        zero = f"{stem}_{'hw'[values.index(0)]}" if given else field
        layer.fail(f"{zero} is 0", f"{layer.param_field}.{zero}", f"give a {stem} of at least 1 for each axis")
    return values


def _check_pair(layer: Layer, stem: str, field: str, given: list[str], listed: list[int], spatial: int) -> None:
    place = f"{layer.param_field}.{given[0]}"
    if listed:
        layer.fail(f"gives {field} and {given[0]}", place, f"keep one of the two: {field}, or {stem}_h and {stem}_w")
    if spatial != 2:
        layer.fail(
            f"{given[0]} is for two spatial axes; the bottom has {spatial}", place, f"repeat {field} for each axis"
        )
    if len(given) == 1 and stem != "pad":
        layer.fail(f"gives only {given[0]}", place, f"give both {stem}_h and {stem}_w, or {field} for both axes")


def _repeated(layer: Layer, field: str, listed: list[int], spatial: int, default: int | None) -> Sizes:
    if not listed and default is not None:
        return (default,) * spatial
    if not listed and spatial:
        layer.fail(f"has no {field}", layer.param_field or "", f"add `{field}: 3`")
    if len(listed) not in (1, spatial):
        layer.fail(
            f"{field} is given {len(listed)} times for {spatial} spatial axes",
            f"{layer.param_field}.{field}",
            "give it once for all axes, or once for each",
        )
    return tuple(listed) if len(listed) == spatial else tuple(listed) * spatial


def _dilation(layer: Layer, spatial: int) -> Sizes:
    given = layer.options.dilation[:]
    if layer.options.HasField("hole"):  # the word of DeepLab and PSPNet
        if given:
            layer.fail("gives dilation and hole", f"{layer.param_field}.hole", "keep one of the two")
        given = [layer.options.hole]
    values = _repeated(layer, "dilation", given, spatial, 1)
    if 0 in values:
        layer.fail("dilation is 0", f"{layer.param_field}.dilation", "1 is a kernel without gaps")
    return values


def check_outputs(layer: Layer, shape: Shape, sizes: Sequence[int], windows: Geometry) -> Sizes:
    """The output sizes for a bottom of `shape`; fails where the kernel is larger than the padded input."""
    outputs = windows.outputs(sizes)
    if any(size < 1 for size in outputs):
        axis = next(i for i, size in enumerate(outputs) if size < 1)
        reach = f"kernel {windows.kernel[axis]}" + (
            f" (dilation {windows.dilation[axis]}: {windows.extent[axis]})" if windows.dilation[axis] > 1 else ""
        )
        layer.fail(
            f"{reach} is larger than the bottom with its padding, {sizes[axis]} + 2·{windows.pad[axis]} "
            f"(bottom {format_shape(shape)})",
            kernel_field(layer, axis),
            "take a smaller kernel, more pad or larger images",
            "L302",
        )
    return outputs


def kernel_field(layer: Layer, axis: int) -> str:
    """Where the kernel of a spatial axis is given."""
    both = "kernel_size" if layer.options.kernel_size else f"kernel_{'hw'[axis]}"
    return f"{layer.param_field}.{both}"


def fitted(x: str, shape: Shape, windows: Geometry) -> str:
    """The expression `x` of a tensor of this shape, with zeros behind where it is smaller than a window."""
    sizes = shape[len(shape) - len(windows.kernel) :]
    return x if windows.fits(sizes) else call("at_least", x, literal(windows.least))
