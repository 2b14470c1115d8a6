"""What a box says of a layer: its kind, and the settings that matter most, in a line."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from netc.layers import registry
from netc.layers.base import format_shape

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

_TYPES = {
    "convolution": "Convolution Deconvolution DepthwiseConvolution ConvolutionDepthwise Im2col",
    "full": "InnerProduct Embed",
    "pooling": "Pooling SPP ROIPooling PSROIPooling Interp Upsample",
    "activation": "ReLU PReLU ELU Sigmoid TanH AbsVal Power Exp Log BNLL Threshold Clip Swish ReLU6 Dropout",
    "normalisation": "BatchNorm Scale Bias LRN MVN Normalize BN",
    "join": "Concat Slice Eltwise Crop Flatten Reshape Split Tile BatchReindex Filter Permute ShuffleChannel Axpy",
    "recurrent": "LSTM RNN LSTMUnit",
    "measure": "Accuracy Softmax ArgMax DetectionOutput Silence HDF5Output Reduction",
}
_KIND_OF = {name: kind for kind, names in _TYPES.items() for name in names.split()}


def kind_of(type_name: str) -> str:
    """The kind of a layer type; a type that is in no list goes by what its class says."""
    cls = registry().get(type_name)
    if type_name in _KIND_OF:
        return _KIND_OF[type_name]
    if cls is not None and (cls.is_source or cls.is_loss):
        return "data" if cls.is_source else "loss"
    if type_name.endswith(("Loss", "WithLoss")):
        return "loss"
    return "data" if type_name.endswith("Data") else "other"


def settings_of(layer: Any) -> str:
    """ "k3 s1 p1, 64": the main settings of a LayerParameter; "" where all are the defaults."""
    cls = registry().get(layer.type)
    field = cls.param_field if cls is not None else None
    if not field:
        return ""
    options = getattr(layer, field)
    words = WORDS.get(layer.type)
    return words(options, layer) if words else _plain(options)


def pair(options: Any, name: str, otherwise: int) -> tuple[int, ...]:
    """kernel, stride, pad or dilation over the spatial axes, from whichever of its three spellings is used."""
    stem = "kernel" if name == "kernel_size" else name
    high, wide = f"{stem}_h", f"{stem}_w"
    if high in options.DESCRIPTOR.fields_by_name and (options.HasField(high) or options.HasField(wide)):
        return (getattr(options, high) or otherwise, getattr(options, wide) or otherwise)
    value = getattr(options, name, otherwise)
    sizes = tuple(value) if not isinstance(value, int) else (value,) if options.HasField(name) else ()
    return sizes or (otherwise,)


def _window(options: Any, kernel: bool = True) -> str:
    parts = []
    for letter, name, otherwise in (("k", "kernel_size", 0), ("s", "stride", 1), ("p", "pad", 0), ("d", "dilation", 1)):
        if name not in options.DESCRIPTOR.fields_by_name or (letter == "k" and not kernel):
            continue
        sizes = pair(options, name, otherwise)
        text = str(sizes[0]) if len(set(sizes)) == 1 else format_shape(sizes)
        if letter in "ks" or text != str(otherwise):
            parts.append(letter + text)
    return " ".join(parts)


def _convolution(options: Any, layer: Any) -> str:
    group = f" g{options.group}" if options.group > 1 else ""
    return f"{_window(options)}{group}, {options.num_output}" + ("" if options.bias_term else ", no bias")


def _pooling(options: Any, layer: Any) -> str:
    method = options.DESCRIPTOR.fields_by_name["pool"].enum_type.values_by_number[options.pool].name
    return f"{method} global" if options.global_pooling else f"{method} {_window(options)}"


def _inner_product(options: Any, layer: Any) -> str:
    return f"{options.num_output}" + ("" if options.bias_term else ", no bias")


def _source(options: Any, layer: Any) -> str:
    batch = f"batch {options.batch_size}" if options.batch_size else ""
    source = os.path.basename(options.source.rstrip("/")) if "source" in options.DESCRIPTOR.fields_by_name else ""
    return ", ".join(part for part in (batch, source) if part)


def _lrn(options: Any, layer: Any) -> str:
    within = " within channel" if options.norm_region else ""
    return f"n{options.local_size} α{options.alpha:g} β{options.beta:g}{within}"


def _eltwise(options: Any, layer: Any) -> str:
    name = options.DESCRIPTOR.fields_by_name["operation"].enum_type.values_by_number[options.operation].name
    return " ".join([name, *(f"{value:g}" for value in options.coeff)])


def _accuracy(options: Any, layer: Any) -> str:
    return f"top {options.top_k}" if options.top_k != 1 else ""


def _dropout(options: Any, layer: Any) -> str:
    return f"{options.dropout_ratio:g}"


def _shapes(options: Any, layer: Any) -> str:
    shape = options.shape
    return " + ".join(format_shape(tuple(one.dim)) for one in (shape if hasattr(shape, "__len__") else [shape]))


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


WORDS: dict[str, Callable[[Any, Any], str]] = {
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    "DepthwiseConvolution": _convolution,
    "ConvolutionDepthwise": _convolution,
    "Pooling": _pooling,
    "InnerProduct": _inner_product,
    "Data": _source,
    "ImageData": _source,
    "HDF5Data": _source,
    "WindowData": _source,
    "LRN": _lrn,
    "Eltwise": _eltwise,
    "Accuracy": _accuracy,
    "Dropout": _dropout,
    "Input": _shapes,
    "Reshape": _shapes,
}
