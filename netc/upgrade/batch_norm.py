"""BatchNorm layers with three param blocks, as files had them before Caffe froze those parameters itself."""

from __future__ import annotations

from typing import Any

from netc.prototxt.draft import Draft


def has_trained_statistics(layer: Any) -> bool:
    """Whether a layer is a BatchNorm with exactly three param blocks."""
    return len(layer.param) == 3 and layer.type == "BatchNorm"


def freeze_batch_norm(draft: Draft) -> None:
    """Such a layer gets lr_mult 0 and decay_mult 0 in each block: its blobs are sums."""
    for layer in filter(has_trained_statistics, draft.param.layer):
        for spec in layer.param:
            spec.lr_mult = spec.decay_mult = 0.0
