"""Kernel, stride, pad and dilation: the rules Convolution, Deconvolution and Im2col share (base_conv_layer.cpp)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netc.layers.base import Layer, Shape, Window, format_shape
from netc.layers.code import call, literal
from netc.prototxt.forks import EACH_AXIS

Sizes = tuple[int, ...]

FIELDS = {
    "kernel_size": (0, ("kernel_h", "kernel_w")),
    "stride": (1, ("stride_h", "stride_w")),
    "pad": (0, ("pad_h", "pad_w")),
    "dilation": (1, ("hole",)),
}
"""Settings of sliding windows: (default, other spellings); the default of a kernel stands for none given."""


def window_sizes(options: Any, field: str) -> Sizes:
    """kernel_size, stride, pad or dilation in whichever spelling `options` has it: one number for all spatial axes, or
    one for each. Nothing is checked."""
    default, names = FIELDS[field]
    known = options.DESCRIPTOR.fields_by_name
    if any(name in known and options.HasField(name) for name in names):
        return tuple(int(getattr(options, name)) if options.HasField(name) else default for name in names)
    if field not in known:
        return (default,)
    value = getattr(options, field)
    if not isinstance(value, int):
        return tuple(value) or (default,)
    return _each_axis(options, field) or ((value,) if options.HasField(field) else (default,))


def _each_axis(options: Any, field: str) -> Sizes:
    """What a fork's file gives once for each axis, where Caffe has one number."""
    name = EACH_AXIS.get(options.DESCRIPTOR.name, {}).get(field)
    return tuple(getattr(options, name)) if name else ()


def window_summary(options: Any) -> str:
    """ "k3 s1 p1": kernel and stride, and what is not the default of pad and dilation."""
    parts = []
    for letter, field in zip("kspd", FIELDS, strict=True):
        sizes = window_sizes(options, field)
        text = str(sizes[0]) if len(set(sizes)) == 1 else format_shape(sizes)
        if letter in "ks" or text != str(FIELDS[field][0]):
            parts.append(letter + text)
    return " ".join(parts)


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
    kernel, stride, pad, dilation = (checked_sizes(layer, field, spatial) for field in FIELDS)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    least = tuple(e - 2 * p for e, p in zip(extent, pad, strict=True))
    return Geometry(kernel, stride, pad, dilation, extent, least)


def checked_sizes(layer: Layer, field: str, spatial: int) -> Sizes:
    """`window_sizes` for each of `spatial` axes; fails where the spellings contradict each other or the axes."""
    options, stem = layer.options, field.removesuffix("_size")
    given = [name for name in FIELDS[field][1] if options.HasField(name)]
    if given:
        _check_spelling(layer, field, given, spatial)
    elif stem == "kernel" and spatial and not is_written(options, field):
        instead = ", or `global_pooling: true`" if hasattr(options, "global_pooling") else ""
        layer.fail(f"has no {field}", layer.param_field or "", f"add `{field}: 3`{instead}")
    values = window_sizes(options, field)
    if len(values) not in (1, spatial):
        layer.fail(
            f"{field} is given {len(values)} times for {spatial} spatial axes",
            f"{layer.param_field}.{field}",
            "give it once for all axes, or once for each",
        )
    values = values if len(values) == spatial else values * spatial
    if stem != "pad" and 0 in values:
        zero = given[values.index(0)] if len(given) > 1 else field
        hint = "1 is a kernel without gaps" if stem == "dilation" else f"give a {stem} of at least 1 for each axis"
        layer.fail(f"{zero} is 0", f"{layer.param_field}.{zero}", hint)
    return values


def is_written(options: Any, field: str) -> bool:
    """Whether the file gives a field, once or once for each axis."""
    value = getattr(options, field)
    return options.HasField(field) or bool(_each_axis(options, field)) if isinstance(value, int) else len(value) > 0


def _check_spelling(layer: Layer, field: str, given: list[str], spatial: int) -> None:
    """Of the other spellings of a field, those that are given: together with nothing else, and a pair as a whole (but
    that a lone pad_h or pad_w is a convolution's, with 0 for the other)."""
    place, names = f"{layer.param_field}.{given[0]}", FIELDS[field][1]
    if is_written(layer.options, field):
        hint = f"keep one of the two: {field}, or {' and '.join(names)}"
        layer.fail(f"gives {' and '.join([field, *given])}", place, hint)
    if len(names) == 1:
        return
    if spatial != 2:
        layer.fail(
            f"{given[0]} is for two spatial axes; the bottom has {spatial}", place, f"repeat {field} for each axis"
        )
    if len(given) == 1 and (field != "pad" or hasattr(layer.options, "global_pooling")):
        layer.fail(f"gives only {given[0]}", place, f"give both {' and '.join(names)}, or {field} for both axes")


def field_of(layer: Layer, field: str, axis: int) -> str:
    """Where the size of a spatial axis is given."""
    return f"{layer.param_field}.{field if is_written(layer.options, field) else FIELDS[field][1][axis]}"


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
            field_of(layer, "kernel_size", axis),
            "take a smaller kernel, more pad or larger images",
            "L302",
        )
    return outputs


def fitted(x: str, shape: Shape, windows: Geometry) -> str:
    """The expression `x` of a tensor of this shape, with zeros behind where it is smaller than a window."""
    sizes = shape[len(shape) - len(windows.kernel) :]
    return x if windows.fits(sizes) else call("at_least", x, literal(windows.least))
