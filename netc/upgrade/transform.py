"""Preprocessing settings of V1's data layers, which stood among the data settings, move to transform_param."""

from __future__ import annotations

from functools import partial

from netc.draft import Draft
from netc.upgrade.places import moved, renamed

BLOCKS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
"""V1 type → the block that held the fields."""

FIELDS = ("scale", "mean_file", "crop_size", "mirror")


def move_transform_fields(draft: Draft) -> None:
    """A field that stands in both blocks takes its value from the old one, as in Caffe."""
    if not draft.param.layers:
        return
    names = draft.param.layers[0].LayerType.Name
    for number, layer in enumerate(draft.param.layers):
        if (block := BLOCKS.get(names(layer.type))) is None or not layer.HasField(block):
            continue
        old = getattr(layer, block)
        for name in [name for name in FIELDS if old.HasField(name)]:
            setattr(layer.transform_param, name, getattr(old, name))
            old.ClearField(name)
        draft.origins[number] = renamed(draft.origins[number], partial(_old_paths, block))


def _old_paths(block: str, path: str) -> list[str]:
    own = [path] if path == "transform_param" else []
    return [*own, *moved(path, {f"transform_param.{name}": f"{block}.{name}" for name in FIELDS}), path]
