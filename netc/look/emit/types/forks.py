"""Layer types of Caffe's forks (docs/layers.md says whose)."""

from __future__ import annotations

from netc.layers.base import Shape
from netc.layers.code import Code, number, tuple_of
from netc.look.emit.registry import Site, emits


@emits("Permute")
def permute(site: Site) -> Code:
    order = site.layer.order + [axis for axis in range(len(site.shape)) if axis not in site.layer.order]
    return Code(f"{site.x}.permute({', '.join(map(str, order))}).contiguous()")


@emits("Normalize")
def normalize(site: Site) -> Code:
    options = site.options
    arguments = [] if options.channel_shared else [str(site.shape[1])]
    if options.HasField("eps"):
        arguments.append(f"eps={number(options.eps)}")
    if not options.across_spatial:
        arguments.append("across_spatial=False")
    return Code(site.call(), module=f"Normalize({', '.join(arguments)})")


@emits("Gather", "Scatter")
def gather(site: Site) -> Code:
    """One process has all of the batch already."""
    return Code(site.bottoms)


@emits("BroadcastMul")
def broadcast_mul(site: Site) -> Code:
    a, b = site.bottoms
    return Code(f"{a} * {b}")


@emits("Axpy", joint=True)
def axpy(site: Site) -> Code:
    a, x, b = site.bottoms
    factors, shape = site.node.bottom_shapes[:2]
    missing = len(shape) - len(factors)
    if missing < 0 or len(factors) == len(shape):
        return Code(f"torch.addcmul({b}, {a if missing == 0 else f'{a}.reshape({x}.shape[:2])'}, {x})")
    return Code(f"torch.addcmul({b}, {a}[..., {', '.join(['None'] * missing)}], {x})")


@emits("ShuffleChannel")
def shuffle_channel(site: Site) -> Code:
    group = site.options.group
    return Code(f"{site.x}.unflatten(1, ({group}, -1)).transpose(1, 2).flatten(1, 2).contiguous()")


@emits("Reorg")
def reorg(site: Site) -> Code:
    reverse = ", reverse=True" if site.options.reverse else ""
    return Code(f"reorg({site.x}, {site.options.stride}{reverse})")


@emits("Interp")
def interp(site: Site) -> Code:
    options, x = site.options, site.x
    if options.pad_beg or options.pad_end:
        x = f"F.pad({x}, {tuple_of((options.pad_beg, options.pad_end) * 2)})"
    if len(site.bottoms) > 1:
        size = f"size={site.bottoms[1]}.shape[2:]"
    elif site.layer.fixed is not None:
        size = f"size={tuple_of(site.layer.fixed)}"
    else:
        size = f"size=zoomed({site.x}.shape, {options.zoom_factor}, {options.shrink_factor}, {_cut(site)})"
    return Code(f'F.interpolate({x}, {size}, mode="bilinear", align_corners=True)')


def _cut(site: Site) -> int:
    """Rows that the (negative) pads take away."""
    return -int(site.options.pad_beg + site.options.pad_end)


@emits("Upsample")
def upsample(site: Site) -> Code:
    layer = site.layer
    if len(site.bottoms) == 1:
        rows, columns = layer.scale
        return Code(f"{site.x}.repeat_interleave({rows}, dim=2).repeat_interleave({columns}, dim=3)")
    size = tuple_of(layer.fixed) if layer.fixed is not None else _unpooled_size(site)
    return Code(f"unpool({site.x}, {site.bottoms[1]}, {size})")


def _unpooled_size(site: Site) -> str:
    """The top's size by the bottom's, at run time."""
    sizes = []
    for axis, (scale, cut) in enumerate(
        zip(site.layer.scale, (site.options.pad_out_h, site.options.pad_out_w), strict=True), 2
    ):
        sizes.append(f"{scale} * {site.x}.shape[{axis}]" + (" - 1" if cut else ""))
    return tuple_of(sizes)


@emits("ContinuationIndicator")
def continuation_indicator(site: Site) -> Code:
    steps = site.options.time_step
    if not site.bottoms:
        return Code(f"continuation_marks({steps}, {site.options.batch_size})")
    return Code(f"continuation_marks({steps}, {site.x}.shape[{site.layer.axis}], {site.x})")


@emits("BN")
def bn(site: Site) -> Code:
    """The three layers of this name, told apart by their fields, as one helper."""
    layer, options = site.layer, site.options
    shape: Shape = site.node.params[0].blob.shape
    arguments = [tuple_of(shape), f"eps={number(_bn_eps(site))}"]
    names = tuple(ref.blob.name for ref in site.node.params)
    if names[:2] != ("scale", "shift"):
        arguments.append('names=("slope", "bias")')
    if layer.axis != 1:
        arguments.append(f"dim={layer.axis}")
    running = len(names) > 2
    if running:
        arguments.append(f"momentum={number(layer.share)}")
    if layer.of == "SegNet" and options.bn_mode == 1:
        arguments.append('statistics="none"')
    elif running and (layer.of == "Cysu" or options.moving_average):
        always = layer.phase == 1 or (layer.of == "Cysu" and options.frozen)
        arguments.append('statistics="running"' if always else 'statistics="by mode"')
    return Code(site.call(), module=f"BN({', '.join(arguments)})")


def _bn_eps(site: Site) -> float:
    layer, options = site.layer, site.options
    return {"SegNet": 1e-9, "PSPNet": float(options.var_eps), "Cysu": float(options.eps)}[str(layer.of)]


@emits("SmoothL1Loss")
def smooth_l1_loss(site: Site) -> Code:
    sigma = f", sigma={number(site.options.sigma)}" if site.options.sigma != 1 else ""
    return Code(f"smooth_l1_loss({', '.join(site.bottoms)}{sigma})")


@emits("L1Loss")
def l1_loss(site: Site) -> Code:
    a, b = site.bottoms
    return Code(f"({a} - {b}.reshape({a}.shape)).abs().sum() / {a}.shape[0]")


@emits("PriorBox")
def prior_box(site: Site) -> Code:
    options, layer = site.options, site.layer
    x, image = site.bottoms
    sizes = ", ".join(tuple_of([number(side) for side in size]) for size in layer.sizes)
    arguments = [x, f"[{sizes}]", tuple_of([number(value) for value in layer.variance])]
    height, width = options.img_h or options.img_size, options.img_w or options.img_size
    arguments.append(f"image=({height}, {width})" if height else f"image={image}.shape[2:]")
    step_h, step_w = options.step_h or options.step, options.step_w or options.step
    if step_h:
        arguments.append(f"step=({number(step_h)}, {number(step_w)})")
    if options.offset != 0.5:
        arguments.append(f"offset={number(options.offset)}")
    return Code(f"prior_boxes({', '.join(arguments + (['clip=True'] if options.clip else []))})")


@emits("ROIPooling")
def roi_pooling(site: Site) -> Code:
    options = site.options
    size = f"({options.pooled_h}, {options.pooled_w})"
    return Code(f"roi_pool({site.x}, {site.bottoms[1]}, {size}, {number(options.spatial_scale)})")
