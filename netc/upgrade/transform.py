"""Preprocessing settings of V1's data layers, which stood among the data settings, move to transform_param."""

from __future__ import annotations

from functools import partial

from netc.prototxt.draft import Draft
from netc.upgrade.places import moved, renamed

BLOCKS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
"""V1 type → the block that held the fields."""

FIELDS = ("scale", "mean_file", "crop_size", "mirror")


def move_transform_fields(draft: Draft) -> None:
    """A field that stands in both blocks takes its value from the old one, as in Caffe; and where one layer has such a
    field, every layer of those types gets both blocks, if empty."""
    if not draft.param.layers:
        return
    names = draft.param.layers[0].LayerType.Name
    layers = [
        (i, layer, BLOCKS[name]) for i, layer in enumerate(draft.param.layers) if (name := names(layer.type)) in BLOCKS
    ]
    if not any(getattr(layer, block).HasField(name) for _, layer, block in layers for name in FIELDS):
        return
    for number, layer, block in layers:
        old = getattr(layer, block)
        old.SetInParent()
        layer.transform_param.SetInParent()
        for name in [name for name in FIELDS if old.HasField(name)]:
            setattr(layer.transform_param, name, getattr(old, name))
            old.ClearField(name)
        draft.origins[number] = renamed(draft.origins[number], partial(_old_paths, block))


def _old_paths(block: str, path: str) -> list[str]:
    own = [path] if path == "transform_param" else []
    return [*own, *moved(path, {f"transform_param.{name}": f"{block}.{name}" for name in FIELDS}), path]
