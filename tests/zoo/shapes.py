"""Shapes of data that are not here, so that nets of the zoo compile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netc import NetcError
from netc.layers import registry
from netc.layers.base import Shape

IMAGE, CAMVID = (224, 224), (360, 480)
"""Height and width of the images; SegNet's nets (DenseImageData) have the second one written into their layers."""


def shapes_of(layer: Any, phase: int) -> Sequence[Shape]:
    """Shapes of a data layer: its settings' where they tell, else those of images of a usual size."""
    kind = registry()[layer.type]
    try:
        return kind(layer, phase).setup([])
    except NetcError as error:
        if error.code != "L304" or layer.type == "HDF5Data":
            raise
    options = getattr(layer, kind.param_field or "")
    batch = int((options if hasattr(options, "batch_size") else layer.data_param).batch_size)
    height, width = CAMVID if layer.type == "DenseImageData" else IMAGE
    labels = (batch, 1, height, width) if layer.type == "DenseImageData" else (batch,)
    return [(batch, 3, height, width), labels]
