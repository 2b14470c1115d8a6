"""Pooling, normalisation over neighbourhoods, and the columns of a convolution."""

from __future__ import annotations

from netc.layers.pools import Pool
from netc.look.emit.registry import Code, Site, emits
from netc.look.emit.text import number, same_or_tuple, tuple_of
from netc.look.emit.types.weights import least_sizes


@emits("Pooling")
def pooling(site: Site) -> Code:
    layer, options = site.layer, site.options
    maximum, average, _ = range(3)
    if layer.with_position:
        return Code(f"max_pool_with_position({site.x}, {_windows(site)})", together=True)
    if layer.kernel is None:
        return Code(f"{site.x}.mean((2, 3), keepdim=True)" if options.pool == average else _whole_maximum(site))
    name = "max_pool" if options.pool == maximum else "avg_pool"
    if as_torch(layer.pool(*site.shape[2:])):
        return Code(f"F.{name}2d({site.x}, {_windows(site)})")
    return Code(f"{name}({site.x}, {_windows(site)})")


def _whole_maximum(site: Site) -> str:
    return f"F.max_pool2d({site.x}, {site.x}.shape[2:])"


def as_torch(pool: Pool) -> bool:
    """Whether torch's padding and ceil_mode are Caffe's for images of any size: a pad of at most half the kernel, and
    no window that could start behind the image (where torch leaves it out and Caffe, without a pad, does not)."""
    within = all(2 * pad <= kernel for pad, kernel in zip(pool.pad, pool.kernel, strict=True))
    reached = any(pool.pad) or not pool.ceil or all(s <= k for s, k in zip(pool.stride, pool.kernel, strict=True))
    return within and reached


def _windows(site: Site) -> str:
    """kernel, stride, padding and ceil_mode as F.max_pool2d takes them."""
    pool = site.layer.pool(*site.shape[2:])
    arguments = [same_or_tuple(pool.kernel), f"stride={same_or_tuple(pool.stride)}"]
    if any(pool.pad):
        arguments.append(f"padding={same_or_tuple(pool.pad)}")
    rounded = pool.ceil and pool.stride != (1, 1)
    return ", ".join([*arguments, "ceil_mode=True"] if rounded else arguments)


@emits("SPP")
def spp(site: Site) -> Code:
    pool = "max_pool" if site.options.pool == 0 else "avg_pool"
    height = site.options.pyramid_height
    return Code(f"pyramid_pool({site.x}, {height}, {pool})")


@emits("LRN")
def lrn(site: Site) -> Code:
    options = site.options
    if options.norm_region:
        return Code(f"lrn_within_channel({site.x}, {_lrn_arguments(site)})")
    k = f", k={number(options.k)}" if options.k != 1 else ""
    return Code(f"F.local_response_norm({site.x}, {_lrn_arguments(site)}{k})")


def _lrn_arguments(site: Site) -> str:
    options = site.options
    return f"{options.local_size}, alpha={number(options.alpha)}, beta={number(options.beta)}"


@emits("MVN")
def mvn(site: Site) -> Code:
    options = site.options
    arguments = [site.x]
    if options.across_channels:
        arguments.append("across_channels=True")
    if not options.normalize_variance:
        arguments.append("variance=False")
    elif abs(options.eps - 1e-9) > 1e-15:
        arguments.append(f"eps={number(options.eps)}")
    call = f"mean_variance_normalize({', '.join(arguments)})"
    missing = 4 - len(site.shape)
    return Code(f"{call}[..., {', '.join(['None'] * missing)}]" if missing else call)


@emits("Im2col")
def im2col(site: Site) -> Code:
    windows = site.layer.geometry
    x = site.x
    if any(windows.overhang(site.shape[len(site.shape) - len(windows.kernel) :])):
        x = f"at_least({x}, {tuple_of(least_sizes(windows))})"
    arguments = ", ".join(str(tuple(getattr(windows, name))) for name in ("kernel", "stride", "pad", "dilation"))
    return Code(f"im2col({x}, {arguments})")
