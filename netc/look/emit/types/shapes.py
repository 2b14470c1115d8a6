"""Layers that move values and leave them as they are, and sums, products and maxima of several blobs."""

from __future__ import annotations

from netc.layers.code import number, tuple_of
from netc.look.emit.registry import Code, Site, emits


@emits("Split")
def split(site: Site) -> Code:
    return Code((site.x,) * len(site.node.tops))


@emits("Silence")
def silence(site: Site) -> Code:
    return Code(())


@emits("Concat", joint=True)
def concat(site: Site) -> Code:
    if len(site.bottoms) == 1:
        return Code(site.x)
    return Code(f"torch.cat({tuple_of(site.bottoms)}, dim={site.layer.axis})")


@emits("Slice")
def slice_(site: Site) -> Code:
    layer, parts = site.layer, len(site.node.tops)
    if parts == 1:
        return Code(site.x)
    if layer.points:
        return Code(f"torch.tensor_split({site.x}, {tuple_of(layer.points)}, dim={layer.axis})", together=True)
    return Code(f"{site.x}.chunk({parts}, dim={layer.axis})", together=True)


@emits("Flatten")
def flatten(site: Site) -> Code:
    axes = len(site.shape)
    start, end = site.options.axis % axes, site.options.end_axis % axes
    if start > end:  # an empty range: an axis of size 1 in front of `start`
        return Code(f"{site.x}.unsqueeze({start})")
    if start == end:
        return Code(site.x)
    return Code(f"{site.x}.flatten({start})" if end == axes - 1 else f"{site.x}.flatten({start}, {end})")


@emits("Reshape")
def reshape(site: Site) -> Code:
    axis, number_of = site.options.axis, site.options.num_axes
    start = axis if axis >= 0 else len(site.shape) + 1 + axis
    end = len(site.shape) if number_of == -1 else start + number_of
    kept = [f"{site.x}.shape[{position}]" for position in range(len(site.shape))]
    middle = [kept[start + i] if dim == 0 else str(dim) for i, dim in enumerate(site.layer.dims)]
    return Code(f"{site.x}.reshape({', '.join([*kept[:start], *middle, *kept[end:]]) or '()'})")


@emits("Crop")
def crop(site: Site) -> Code:
    x, reference = site.bottoms
    parts = [":"] * site.layer.axis
    for axis, offset in enumerate(site.layer.offsets, site.layer.axis):
        size = f"{reference}.shape[{axis}]"
        parts.append(f"{offset} : {offset} + {size}" if offset else f": {size}")
    return Code(f"{x}[{', '.join(parts)}]")


@emits("Tile")
def tile(site: Site) -> Code:
    repeats = ["1"] * len(site.shape)
    repeats[site.layer.axis] = str(site.options.tiles)
    return Code(f"{site.x}.repeat({', '.join(repeats)})")


@emits("BatchReindex")
def batch_reindex(site: Site) -> Code:
    return Code(f"{site.x}[{site.bottoms[1]}.long()]")


@emits("Filter")
def filter_(site: Site) -> Code:
    *kept, selector = site.bottoms
    return Code(tuple(f"{x}[{selector}.flatten() != 0]" for x in kept))


@emits("Eltwise", joint=True)
def eltwise(site: Site) -> Code:
    prod, sum_, _ = range(3)
    first, *others = site.bottoms
    if site.options.operation == prod:
        return Code(" * ".join(site.bottoms))
    if site.options.operation != sum_:
        return Code(f"larger({', '.join(site.bottoms)})")
    weights = site.layer.weights
    total = _term(first, weights[0])
    for other, weight in zip(others, weights[1:], strict=True):
        total += f" {'-' if weight < 0 else '+'} {_term(other, abs(weight))}"
    return Code(total)


def _term(x: str, weight: float) -> str:
    return x if weight == 1 else f"-{x}" if weight == -1 else f"{number(weight)} * {x}"


@emits("Reduction")
def reduction(site: Site) -> Code:
    _, asum, sumsq, mean = range(1, 5)
    operation, coeff, axis = site.options.operation, site.options.coeff, site.layer.axis
    terms = {asum: f"{site.x}.abs()", sumsq: f"{site.x}.square()"}.get(operation, site.x)
    axes = tuple_of(range(axis, len(site.shape))) if axis else ""
    if not site.shape:
        axes = ""
    total = f"{terms}.{'mean' if operation == mean else 'sum'}({axes})"
    return Code(f"{number(coeff)} * {total}" if coeff != 1 else total)


@emits("ArgMax")
def argmax(site: Site) -> Code:
    options = site.options
    arguments = [site.x, f"top_k={options.top_k}"]
    if site.layer.axis is not None:
        arguments.append(f"dim={site.layer.axis}")
    return Code(f"argmax({', '.join(arguments + (['values=True'] if options.out_max_val else []))})")
