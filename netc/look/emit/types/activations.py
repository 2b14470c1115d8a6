"""Functions of each value by itself, and those along an axis."""

from __future__ import annotations

from netc.layers.code import number
from netc.look.emit.registry import Code, Site, emits


@emits("PReLU", inline=True)
def prelu(site: Site) -> Code:
    shared = site.options.channel_shared
    return Code(site.call(), module="SharedPReLU()" if shared else f"nn.PReLU({site.shape[1]})")


@emits("Dropout")
def dropout(site: Site) -> Code:
    """In the TEST phase nothing; in a TRAIN net it follows `net.train()` and `net.eval()`."""
    options, ratio = site.options, number(site.options.dropout_ratio)
    scales = getattr(options, "scale_train", True)
    if site.layer.phase != 0 and getattr(options, "sample_weights_test", False):
        return Code(f"F.dropout({site.x}, {ratio})" if scales else f"kept_or_dropped({site.x}, {ratio})")
    if site.layer.phase != 0:
        return Code(site.x if scales else f"{number(1 - options.dropout_ratio)} * {site.x}")
    if scales:
        return Code(f"F.dropout({site.x}, {ratio}, training=self.training)")
    return Code(f"kept_or_dropped({site.x}, {ratio}, self.training)")
