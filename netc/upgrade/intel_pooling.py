"""Pooling in nets of Intel's Caffe, whose rule for the last window is another where a side of the kernel is 1."""

from __future__ import annotations

from typing import Any

from netc.prototxt.draft import Draft
from netc.prototxt.forks import is_intels


def has_intels_windows(net: Any) -> bool:
    """Whether a net says by its fields that it is Intel's, and has a pooling that they make a difference to."""
    return any(map(_differs, net.layer)) and is_intels(net)


def clip_intels_windows(draft: Draft) -> None:
    """Such layers get `clip: true`: Intel's fork leaves out a last window that would start beyond the image."""
    if has_intels_windows(draft.param):
        for layer in filter(_differs, draft.param.layer):
            layer.pooling_param.clip = True


def _differs(layer: Any) -> bool:
    """Whether a side of the kernel is 1 and no clip is given; a volume has Caffe's rule there, too."""
    options = layer.pooling_param
    if layer.type != "Pooling" or options.HasField("clip"):
        return False
    sizes = options.kernel_sizes or (options.kernel_size,)
    return 1 in (*sizes[:2], options.kernel_h, options.kernel_w) and len(sizes) < 3
