"""BatchNorm layers with three param blocks, as files had them before Caffe froze those parameters itself."""

from __future__ import annotations

from netc.prototxt.draft import Draft


def freeze_batch_norm(draft: Draft) -> None:
    """A BatchNorm with exactly three param blocks gets lr_mult 0 and decay_mult 0 in each: its blobs are sums."""
    for layer in draft.param.layer:
        if len(layer.param) == 3 and layer.type == "BatchNorm":
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0.0
