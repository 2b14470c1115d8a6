"""Layers with weights: convolutions, inner products, embeddings, scales."""

from __future__ import annotations

from netc.layers.base import Shape, count
from netc.layers.code import number, same_or_tuple, tuple_of
from netc.layers.windows import Geometry
from netc.look.emit.registry import Code, Site, emits


@emits("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise")
def convolution(site: Site) -> Code:
    windows = site.layer.geometry
    sizes = site.shape[len(site.shape) - len(windows.kernel) :]
    return _spatial(site, "Conv", _channels(site), any(windows.overhang(sizes)))


@emits("Deconvolution")
def deconvolution(site: Site) -> Code:
    return _spatial(site, "ConvTranspose", _channels(site), False)


def _channels(site: Site) -> int:
    return site.shape[len(site.shape) - len(site.layer.geometry.kernel) - 1]


def _spatial(site: Site, kind: str, channels: int, overhangs: bool) -> Code:
    """nn.Conv2d and its relatives, called on each bottom; axes before the channels are one batch. `overhangs`: the only
    window reaches beyond the image and its padding, which Caffe takes for zeros and torch refuses."""
    windows = site.layer.geometry
    axes = len(windows.kernel)
    if axes > 3:
        site.fail(f"torch has no convolution over {axes} axes", "convolution_param")
    if axes == 0:
        return _pointwise(site, channels)
    axis = len(site.shape) - axes - 1
    calls = []
    for x in site.bottoms:
        given = f"at_least({x}, {tuple_of(least_sizes(windows))})" if overhangs else x
        calls.append(_over_batch(site, given, x, axis))
    return Code(tuple(calls), module=f"nn.{kind}{axes}d({_arguments(site, channels)})")


def least_sizes(windows: Geometry) -> list[int]:
    """The sizes of image that the window needs."""
    return [extent - 2 * pad for extent, pad in zip(windows.extent, windows.pad, strict=True)]


def _arguments(site: Site, channels: int) -> str:
    options, windows = site.options, site.layer.geometry
    arguments = [str(channels), str(options.num_output), f"kernel_size={same_or_tuple(windows.kernel)}"]
    for name, sizes, default in (("stride", windows.stride, 1), ("padding", windows.pad, 0)):
        if any(size != default for size in sizes):
            arguments.append(f"{name}={same_or_tuple(sizes)}")
    if any(size != 1 for size in windows.dilation):
        arguments.append(f"dilation={same_or_tuple(windows.dilation)}")
    if options.group != 1:
        arguments.append(f"groups={options.group}")
    return ", ".join(arguments if options.bias_term else [*arguments, "bias=False"])


def _over_batch(site: Site, given: str, x: str, axis: int) -> str:
    """The call; several batch axes are made one and taken apart again (none at all torch takes as it is)."""
    if axis <= 1:
        return site.call(given)
    return f"{site.call(f'{given}.flatten(0, {axis - 1})')}.unflatten(0, {x}.shape[:{axis}])"


def _pointwise(site: Site, channels: int) -> Code:
    """No spatial axes: an inner product of the channels, which are the last axis."""
    out, groups = site.options.num_output, site.options.group
    if groups == 1 and site.node.type == "Convolution":
        bias = "" if site.options.bias_term else ", bias=False"
        return Code(tuple(site.call(x) for x in site.bottoms), module=f"nn.Linear({channels}, {out}{bias})")
    if groups > 1:
        site.fail("groups without a spatial axis", "convolution_param.group", "take a kernel of 1 on an axis of 1")
    return Code(
        tuple(site.call(x) for x in site.bottoms),
        module=f"TransposedLinear({channels}, {out}{'' if site.options.bias_term else ', bias=False'})",
    )


@emits("InnerProduct")
def inner_product(site: Site) -> Code:
    axis, options = site.layer.axis, site.options
    inputs = count(site.shape, axis)
    start = f"{axis}" if axis else ""
    x = site.x if axis == len(site.shape) - 1 else f"{site.x}.flatten({start})"
    kind = "TransposedLinear" if options.transpose else "nn.Linear"
    bias = "" if options.bias_term else ", bias=False"
    return Code(site.call(x), module=f"{kind}({inputs}, {options.num_output}{bias})")


@emits("Embed")
def embed(site: Site) -> Code:
    sizes = f"{site.options.input_dim}, {site.options.num_output}"
    if site.options.bias_term:
        return Code(site.call(), module=f"BiasedEmbedding({sizes})")
    return Code(site.call(f"{site.x}.long()"), module=f"nn.Embedding({sizes})")


@emits("Scale")
def scale(site: Site) -> Code:
    if len(site.bottoms) == 1:
        return Code(site.call(), module=_broadcast(site, "Scale", site.node.params[0].blob.shape))
    x, factor = site.bottoms
    product = f"{x} * {_spread(site, factor)}"
    if not site.has_param("bias"):
        return Code(product)
    return Code(site.call(product), module=_broadcast(site, "Bias", site.node.params[0].blob.shape))


@emits("Bias")
def bias(site: Site) -> Code:
    if len(site.bottoms) == 1:
        return Code(site.call(), module=_broadcast(site, "Bias", site.node.params[0].blob.shape))
    return Code(f"{site.x} + {_spread(site, site.bottoms[1])}")


def _broadcast(site: Site, kind: str, shape: Shape) -> str:
    """A helper with parameters of `shape`, which belong to the axes of x from `axis` on."""
    behind = len(site.shape) - site.layer.axis - len(shape)
    size = str(shape[0]) if len(shape) == 1 else tuple_of(shape) if shape else "()"
    arguments = [size] + ([f"axes_behind={behind}"] if behind != 2 else [])
    return (
        f"{kind}({', '.join(arguments + (['bias=False'] if kind == 'Scale' and not site.has_param('bias') else []))})"
    )


def _spread(site: Site, factor: str) -> str:
    """The second bottom with axes of size 1 behind it."""
    behind = len(site.shape) - site.layer.axis - len(site.node.bottom_shapes[1])
    if behind == 0 or not site.node.bottom_shapes[1]:
        return factor
    return f"{factor}[..., {', '.join(['None'] * behind)}]"


@emits("BatchNorm")
def batch_norm(site: Site) -> Code:
    """The sums' statistics in TEST, the batch's in TRAIN (after `net.eval()` the sums'), or as the file says."""
    options, channels = site.options, site.node.params[0].blob.shape[0]
    arguments = [str(channels)]
    if abs(options.eps - 1e-5) > 1e-12:
        arguments.append(f"eps={number(options.eps)}")
    if options.moving_average_fraction != type(options)().moving_average_fraction:
        arguments.append(f"fraction={number(options.moving_average_fraction)}")
    if site.layer.uses_sums:
        arguments.append("use_global_stats=True")
    elif options.HasField("use_global_stats"):
        arguments.append("use_global_stats=False")
    kind = "ScaledBatchNorm" if site.has_param("scale") else "BatchNorm"
    return Code(site.call(), module=f"{kind}({', '.join(arguments)})")


@emits("Parameter")
def parameter(site: Site) -> Code:
    shape = site.node.params[0].blob.shape
    return Code(f"{site.module}.weight", module=f"Parameter({', '.join(map(str, shape))})")
