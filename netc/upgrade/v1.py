"""V1 → current: `layers` → `layer`, the enum of types → names, parallel lists of rates and names → ParamSpec."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from netc import proto
from netc.prototxt.draft import Draft
from netc.upgrade.places import renamed

_ODD = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BN": "BN",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "ROI_POOLING": "ROIPooling",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
"""Names that are not their words with capitals in front (INNER_PRODUCT → InnerProduct)."""

PARALLEL = {"name": "param", "share_mode": "blob_share_mode", "lr_mult": "blobs_lr", "decay_mult": "weight_decay"}
"""Field of ParamSpec → the V1 list that held its values, one a parameter."""


@cache
def type_names() -> dict[int, str]:
    """V1's number of a type → its name now."""
    values = proto.V1LayerParameter.DESCRIPTOR.enum_types_by_name["LayerType"].values
    return {v.number: _ODD.get(v.name, "".join(word.capitalize() for word in v.name.split("_"))) for v in values}


def v1_to_current(draft: Draft) -> None:
    if not draft.param.layers:
        return
    for layer in draft.param.layers:
        fill(draft.param.layer.add(), layer)
    draft.param.ClearField("layers")
    draft.origins = [renamed(origin, old_paths) for origin in draft.origins]


def fill(layer: Any, old: Any) -> None:
    """Fill a new LayerParameter with what a V1LayerParameter says."""
    for field, value in old.ListFields():
        name = field.name
        if name == "type":
            layer.type = type_names()[value]
        elif name in PARALLEL.values():
            continue
        elif field.is_repeated:
            getattr(layer, name).extend(value)
        elif field.message_type:
            getattr(layer, name).CopyFrom(value)
        else:
            setattr(layer, name, value)
    _param_specs(layer, old)


def _param_specs(layer: Any, old: Any) -> None:
    for name, parallel in PARALLEL.items():
        for index, value in enumerate(getattr(old, parallel)):
            if len(layer.param) <= index:
                layer.param.add()
            setattr(layer.param[index], name, value)


_PARAM = re.compile(r"param(?:\[(\d+)\])?(?:\.(\w+))?")


def old_paths(path: str) -> list[str]:
    """Where a field of the current layer may stand in the V1 layer: "param[1].lr_mult" → "blobs_lr[1]"."""
    match = _PARAM.fullmatch(path)
    if match is None:
        return [path]
    index, name = match[1] or "0", match[2]
    lists = [PARALLEL[name]] if name in PARALLEL else [*PARALLEL.values()]
    return [f"{parallel}[{index}]" for parallel in lists]
