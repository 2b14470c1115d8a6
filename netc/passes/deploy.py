"""The net that a .caffemodel contains, made ready to be run.

A file that training wrote holds the training net: its data layers become an Input layer, and what needs their labels
(losses, accuracies) is dropped, so that the net's outputs are its scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netc import proto
from netc.graph.edges import NOWHERE, resolve
from netc.layers import Layer, registry
from netc.layers.base import Shape
from netc.layers.convolution import Convolution
from netc.layers.input import Input
from netc.layers.sources import ARRAYS, FILLERS


def deployed(param: Any, weights: Mapping[str, Sequence[Any]], shapes: Mapping[str, Shape] | None = None) -> Any:
    """A copy of a net in the current format whose data layers are Input layers, for the TEST phase.

    An input is as large as `shapes` says for its top, or for "" (channels, height, width); else as its data layer's
    crop_size, with the channels that the first convolution's `weights` have; else it has no shape, and the net cannot
    be compiled.
    """
    net = proto.NetParameter()
    net.CopyFrom(param)
    net.ClearField("state")
    for layer in net.layer:
        layer.ClearField("phase")
        layer.ClearField("blobs")
    fed = [layer for layer in net.layer if is_fed(layer)]
    if not fed or any(_kind(layer).is_input for layer in net.layer):
        return net
    layers = _without_copies(net.layer)
    images = {layer.top[0]: layer for layer in fed if layer.top}
    lost = {top for layer in fed for top in layer.top} - set(images)
    told = shapes or {}
    kept = [_input(top, data, _channels(layers, top, weights), told) for top, data in images.items()]
    kept += [layer for layer in layers if not is_fed(layer) and not _needs(layer, lost)]
    return _with_layers(net, kept)


def unknown_input(net: Any) -> str | None:
    """The name of an input of `deployed`'s net whose size is not known; None where there is none."""
    made: set[str] = set()
    for layer in net.layer:
        unknown = layer.top if _kind(layer).is_input and not layer.input_param.shape else layer.bottom
        missing = next((str(blob) for blob in unknown if blob not in made), None)
        if missing is not None:
            return missing
        made.update(layer.top)
    return None


def is_fed(layer: Any) -> bool:
    """Whether `deployed` puts an Input layer in its place."""
    kind = _kind(layer)
    return kind.is_source and not kind.is_input and kind.feed != FILLERS


def _kind(layer: Any) -> type[Layer]:
    """The class of a layer; one that declares nothing where netc does not know the type."""
    return registry().get(layer.type, Layer)


def _needs(layer: Any, lost: set[str]) -> bool:
    """Whether the layer reads something that is lost; then its tops are lost, too."""
    if lost.isdisjoint(layer.bottom):
        return False
    lost.update(layer.top)
    return True


def _input(top: str, data: Any, channels: int, told: Mapping[str, Shape]) -> Any:
    layer = proto.LayerParameter(name=top, type=Input.type, top=[top])
    size, memory = data.transform_param.crop_size, data.memory_data_param
    if (shape := told.get(top, told.get(""))) is not None:
        layer.input_param.shape.add(dim=[1, *shape])
    elif _kind(data).feed == ARRAYS:
        layer.input_param.shape.add(dim=[1, memory.channels, size or memory.height, size or memory.width])
    elif size:
        layer.input_param.shape.add(dim=[1, channels, size, size])
    return layer


def _channels(layers: Sequence[Any], top: str, weights: Mapping[str, Sequence[Any]]) -> int:
    for layer in layers:
        blobs = weights.get(layer.name, ())
        if top in layer.bottom and _kind(layer) is Convolution and blobs and blobs[0].ndim == 4:
            return int(blobs[0].shape[1] * layer.convolution_param.group)
    return 3


def _without_copies(layers: Sequence[Any]) -> list[Any]:
    """The layers without Splits, whose readers read what is copied: compiling inserts those that are still needed."""
    copies = {index for index, layer in enumerate(layers) if _kind(layer).copies_bottom}
    edges, _ = resolve(((layer.bottom[:], layer.top[:]) for layer in layers), copies)
    for layer, tops in zip(layers, edges, strict=True):
        named = zip(layer.bottom[:], tops, strict=True)
        layer.bottom[:] = [blob if top == NOWHERE else layers[top[0]].top[top[1]] for blob, top in named]
    return [layer for index, layer in enumerate(layers) if index not in copies]


def _with_layers(net: Any, layers: list[Any]) -> Any:
    copies = [proto.LayerParameter.FromString(layer.SerializeToString()) for layer in layers]
    del net.layer[:]
    net.layer.extend(copies)
    return net
