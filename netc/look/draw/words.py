"""What a box says of a layer: its kind, and the settings that matter most, in a line."""

from __future__ import annotations

from typing import Any

from netc.layers import Layer, registry

KINDS = {
    "data": "Data",
    "convolution": "Convolution",
    "full": "Fully connected",
    "pooling": "Pooling",
    "activation": "Activation",
    "normalisation": "Normalisation",
    "join": "Joining and cutting",
    "recurrent": "Recurrent",
    "loss": "Loss",
    "measure": "Score",
    "other": "Other",
}
"""Kind → its name in the legend, in the legend's order."""


def kind_of(type_name: str) -> str:
    """The kind of a layer type; one that says nothing goes by its name."""
    cls = registry().get(type_name, Layer)
    if cls.kind:
        return cls.kind
    if cls.is_loss or type_name.endswith(("Loss", "WithLoss")):
        return "loss"
    return "data" if cls.is_source or type_name.endswith("Data") else "other"


def settings_of(layer: Any) -> str:
    """ "k3 s1 p1, 64": the main settings of a LayerParameter; "" where all are the defaults."""
    cls = registry().get(layer.type)
    if cls is None or cls.param_field is None:
        return ""
    words = cls(layer, layer.phase).summary()
    return _plain(getattr(layer, cls.param_field)) if words is None else words


def _plain(options: Any) -> str:
    """Up to three settings that are not the default."""
    said: list[str] = []
    for field, value in options.ListFields():
        if field.message_type is not None or field.name == "engine" or len(said) == 3:
            continue
        many = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        if field.enum_type is not None and not many:
            value = field.enum_type.values_by_number[value].name
        said.append(f"{field.name} {_value(list(value) if many else value)}")
    return ", ".join(said)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(_value(one) for one in value[:6]) + (" …]" if len(value) > 6 else "]")
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
