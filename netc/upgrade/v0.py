"""V0 → V1: the settings of all types in one heap become the V1 layer's own blocks."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from netc import proto
from netc.errors import Findings, NetcError, did_you_mean, nearest, raise_all
from netc.errors.origin import Origin
from netc.prototxt.draft import Draft
from netc.upgrade.mixed import is_v0
from netc.upgrade.places import moved, renamed

TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}
"""V0's types, and V1's for each."""

EVERYWHERE = {
    "name": "name",
    "type": "type",
    "blobs": "blobs",
    "blobs_lr": "blobs_lr",
    "weight_decay": "weight_decay",
    "scale": "transform_param.scale",
    "meanfile": "transform_param.mean_file",
    "cropsize": "transform_param.crop_size",
    "mirror": "transform_param.mirror",
}
"""V0 field → V1 path, for a layer of any type."""

_WEIGHTS = {
    "num_output": "num_output",
    "biasterm": "bias_term",
    "weight_filler": "weight_filler",
    "bias_filler": "bias_filler",
}
_WINDOW = {"pad": "pad", "kernelsize": "kernel_size", "stride": "stride"}
_READS = {"source": "source", "batchsize": "batch_size"}

OWN: dict[str, tuple[str, dict[str, str]]] = {
    "conv": ("convolution_param", {**_WEIGHTS, **_WINDOW, "group": "group"}),
    "innerproduct": ("inner_product_param", _WEIGHTS),
    "pool": ("pooling_param", {**_WINDOW, "pool": "pool"}),
    "dropout": ("dropout_param", {"dropout_ratio": "dropout_ratio"}),
    "lrn": ("lrn_param", {name: name for name in ("local_size", "alpha", "beta", "k")}),
    "data": ("data_param", {**_READS, "rand_skip": "rand_skip"}),
    "hdf5_data": ("hdf5_data_param", _READS),
    "images": (
        "image_data_param",
        {
            **_READS,
            "rand_skip": "rand_skip",
            "shuffle_images": "shuffle",
            "new_height": "new_height",
            "new_width": "new_width",
        },
    ),
    "window_data": (
        "window_data_param",
        {
            **_READS,
            "det_fg_threshold": "fg_threshold",
            "det_bg_threshold": "bg_threshold",
            "det_fg_fraction": "fg_fraction",
            "det_context_pad": "context_pad",
            "det_crop_mode": "crop_mode",
        },
    ),
    "infogain_loss": ("infogain_loss_param", {"source": "source"}),
    "concat": ("concat_param", {"concat_dim": "concat_dim"}),
    "hdf5_output": ("", {"hdf5_output_param": "hdf5_output_param"}),
}
"""V0 type → the V1 block of its own settings, and V0 field → field of that block."""


@cache
def paths(kind: str) -> dict[str, str]:
    """V0 field → V1 path, for a layer of type `kind`."""
    block, fields = OWN.get(kind, ("", {}))
    return EVERYWHERE | {old: f"{block}.{new}" if block else new for old, new in fields.items()}


def _old_paths(kind: str, path: str) -> list[str]:
    return [*moved(path, {new: f"layer.{old}" for old, new in paths(kind).items()}), path]


def v0_to_v1(draft: Draft) -> None:
    """Raises NetcError U112 for every type that Caffe did not have."""
    if not draft.param.layers or not is_v0(draft):
        return
    errors = Findings()
    for number, shell in enumerate(draft.param.layers):
        kind, origin = shell.layer.type, draft.origins[number]
        if shell.layer.HasField("type") and kind not in TYPES:
            errors.add(_unknown_type(kind, shell.layer.name, origin))
            continue
        shell.CopyFrom(_upgraded(draft, shell, origin))
        draft.origins[number] = renamed(origin, partial(_old_paths, kind))
    raise_all(errors)
    for name in {field.name for field, _ in draft.param.ListFields()} & {"state", "debug_info", "input_shape"}:
        draft.remark("A880", f'"{name}" is not known in files of 2013 (V0), and Caffe drops it', draft.place(name))
        draft.param.ClearField(name)


def _unknown_type(kind: str, name: str, origin: Origin) -> NetcError:
    hint = "types of 2013: " + ", ".join(TYPES) if not nearest(kind, TYPES) else None
    message = f'layer "{name}": Caffe knows no V0 type "{kind}"{did_you_mean(kind, TYPES)}'
    return NetcError("U112", message, origin.place("layer.type"), hint)


def _upgraded(draft: Draft, shell: Any, origin: Origin) -> Any:
    """The V1 layer of a V0 one in its shell. Settings that its type does not take are dropped, as Caffe does."""
    old, kind = shell.layer, shell.layer.type
    layer = proto.V1LayerParameter(bottom=shell.bottom, top=shell.top)
    for field, value in old.ListFields():
        if field.name == "type":
            layer.type = layer.LayerType.Value(TYPES[kind])
        elif (path := paths(kind).get(field.name)) is not None:
            _put(layer, path, value)
        else:
            message = f'"{field.name}" has no effect on a layer of type "{kind}"; Caffe drops it'
            draft.remark("A880", message, origin.place(f"layer.{field.name}"), "delete it")
    return layer


def _put(layer: Any, path: str, value: Any) -> None:
    """Set, extend or copy into the field at a dotted path."""
    *blocks, name = path.split(".")
    for block in blocks:
        layer = getattr(layer, block)
    field = layer.DESCRIPTOR.fields_by_name[name]
    if not field.is_repeated:
        getattr(layer, name).CopyFrom(value) if field.message_type else setattr(layer, name, value)
    elif isinstance(value, bool | int | float | str):
        getattr(layer, name).append(value)
    else:
        getattr(layer, name).extend(value)
