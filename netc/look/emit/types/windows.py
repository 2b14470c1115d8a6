"""Pooling, normalisation over neighbourhoods, and the columns of a convolution."""

from __future__ import annotations

from netc.layers.code import number, tuple_of
from netc.look.emit.registry import Code, Site, emits
from netc.look.emit.types.weights import least_sizes


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
