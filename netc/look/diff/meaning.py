"""What a message means, as a table of settings: two messages mean the same if their tables are equal.

    settings(layer) -> {"convolution_param.num_output": 64, …}     a LayerParameter; nothing that is the default
    fields(message) -> the same of any message

Spellings that mean the same come out the same: kernel_h and kernel_w, concat_dim, a filler that is the default anyway,
a loss_weight of 1 on a loss. What has no effect on results is left out: names, engines, prefetching.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import text_format

from netc.layers import Layer, registry
from netc.layers.base import FILLER_NUMBERS
from netc.layers.windows import FIELDS as WINDOWS
from netc.layers.windows import window_sizes

Table = dict[str, Any]
SPELLINGS = {**{name: others for name, (_, others) in WINDOWS.items()}, "axis": ("concat_dim", "slice_dim")}
"""Setting → its other spellings."""
_MEANT = {other: name for name, others in SPELLINGS.items() for other in others}
PRESENCE = (
    *("batch_norm_param.use_global_stats", ".ignore_label", "loss_param.normalization", "loss_param.normalize"),
    *("argmax_param.axis", "multibox_loss_param.do_neg_mining"),
    *("detection_output_param.confidence_threshold", "nms_param.top_k"),
)
"""Endings of fields whose presence means something, even with the default value."""
NEUTRAL = {"eltwise_param.coeff": 1.0, "dummy_data_param.data_filler": "constant 0"}
"""Repeated settings that say nothing where each of them is this."""
IDLE = frozenset({"engine", "prefetch", "cudnn_convolution_algo_seeker"})
OUTSIDE = frozenset({"name", "type", "bottom", "top", "include", "exclude", "phase", "blobs", "param", "loss_weight"})
"""Fields of a layer that are compared in other ways."""
OF_TRAINING = ("filler", ".lr_mult", ".decay_mult")
"""Endings of settings that only training reads."""


def settings(layer: Any, training: bool = True) -> Table:
    """The settings of a layer of the current format; without `training`, only what matters once weights are loaded."""
    found: Table = {}
    kind = registry().get(layer.type, Layer)
    for field, value in layer.ListFields():
        if field.name in OUTSIDE or (field.message_type is None and field.name in IDLE):
            continue
        found.update(_of_field(field, value, field.name, kind))
    for at, spec in enumerate(layer.param):
        found.update((f"param[{at}].{key}", value) for key, value in fields(spec).items())
    if variant := kind.variant(layer):
        found["variant"] = variant
    default = [1.0] if kind.is_loss else []
    weights = list(layer.loss_weight) or default
    if weights != default and any(weights + default):
        found["loss_weight"] = tuple(weights)
    return found if training else {key: value for key, value in found.items() if not key.endswith(OF_TRAINING)}


def fields(message: Any, prefix: str = "", kind: type[Layer] = Layer) -> Table:
    """Every field that is not its default, by dotted path; `kind`: of the layer whose message it is."""
    found: Table = {}
    windows = "kernel_h" in message.DESCRIPTOR.fields_by_name
    for field, value in message.ListFields():
        if field.name in IDLE or (windows and _MEANT.get(field.name, field.name) in WINDOWS):
            continue
        if prefix == f"{kind.param_field}." and field.name in kind.moved:
            continue
        found.update(_of_field(field, value, prefix + field.name, kind))
    found.update(_windows(message, prefix) if windows else ())
    return found


def _of_field(field: Any, value: Any, path: str, kind: type[Layer]) -> Iterator[tuple[str, Any]]:
    text_of = field.message_type and (filler if field.message_type.name == "FillerParameter" else _one_line)
    if _many(field):
        values = tuple(text_of(one) if text_of else _scalar(field, one) for one in value)
        if set(values) != {NEUTRAL.get(path)}:
            yield path, values
    elif text_of is filler:
        if filler(value) != f"constant {kind.starts.get(field.name, 0.0):g}":
            yield path, filler(value)
    elif text_of:
        yield from fields(value, f"{path}.", kind).items()
    elif value != field.default_value or path.endswith(PRESENCE):
        head, _, name = path.rpartition(".")
        yield f"{head}.{_MEANT[name]}" if name in _MEANT else path, _scalar(field, value)


def filler(value: Any) -> str:
    """ "gaussian mean 0 std 0.01": the numbers that the type reads."""
    names = FILLER_NUMBERS.get(value.type, ())
    numbers = [f"{getattr(value, name):g}" if name == "value" else f"{name} {getattr(value, name):g}" for name in names]
    sparse = [f"sparse {value.sparse}"] if value.type == "gaussian" and value.sparse >= 0 else []
    norm = [f"variance_norm {value.variance_norm}"] if value.type in {"xavier", "msra"} and value.variance_norm else []
    return " ".join([value.type, *numbers, *sparse, *norm])


def _windows(message: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, (default, _) in WINDOWS.items():
        sizes = window_sizes(message, name)
        value = sizes[0] if len(set(sizes)) == 1 else "×".join(map(str, sizes))
        if value != default:
            yield prefix + name, value


def default_of(message: Any, path: str) -> Any:
    """What a setting is where it is absent; None where that cannot be said in a word."""
    if path == "phase":  # the net's
        return None
    name = path.rpartition(".")[2]
    if name in WINDOWS and "_param." in path:
        return WINDOWS[name][0]
    descriptor = message.DESCRIPTOR
    for step in path.split("."):
        field = descriptor.fields_by_name.get(step.partition("[")[0])
        if field is None:
            return None
        descriptor = field.message_type
    if _many(field) or field.message_type is not None or path.endswith(PRESENCE):
        return None
    return _scalar(field, field.default_value)


def _many(field: Any) -> bool:
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


def _scalar(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        found = field.enum_type.values_by_number.get(value)
        return found.name if found is not None else value
    return value


def _one_line(message: Any) -> str:
    return str(text_format.MessageToString(message, as_one_line=True))
