"""A blob that several layers read gets a Split layer, as Caffe inserts it (insert_splits.cpp).

Caffe needs the copies to add up gradients; torch does not. They are inserted all the same: blob names, the layer list
of a snapshot, and which nets are legal (a blob read before it is overwritten in place is not) depend on them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from netc.errors import Findings, NetcError, did_you_mean, raise_all
from netc.errors.origin import Origin
from netc.graph.edges import NOWHERE, Bottom, Top, readers_of, resolve
from netc.graph.filter import Layers
from netc.layers.split import Split


def insert_splits(layers: Layers) -> Layers:
    """The layers with Splits between them; those that read a copy, or hand their loss weight to one, are copied.

    Raises NetcError G402 for every bottom that no earlier layer produces.
    """
    reads, _ = resolve((layer.bottom[:], layer.top[:]) for layer in layers.params)  # slices: iterating them is slow
    readers, weights = readers_of(reads), _weights(layers)
    if NOWHERE in readers:
        raise_all(_unknown_bottoms(layers, readers[NOWHERE]))
    tops = [top for top in sorted(readers) if len(readers[top]) + (top in weights) > 1]
    changed = {index for top in tops for index, _ in readers[top]} | {top[0] for top in tops if top in weights}
    params = [_copy(layer) if index in changed else layer for index, layer in enumerate(layers.params)]
    splits: dict[int, list[Any]] = {}
    for top in tops:
        splits.setdefault(top[0], []).append(_split(params, top, readers[top], weights.get(top, 0.0)))
    return _inserted(replace(layers, params=params), splits) if splits else layers


def _copy(layer: Any) -> Any:
    copy = type(layer)()
    copy.CopyFrom(layer)
    return copy


def _weights(layers: Layers) -> dict[Top, float]:
    """The tops with a loss weight, which counts as a reader."""
    given = [(index, layer.loss_weight) for index, layer in enumerate(layers.params) if layer.loss_weight]
    return {(index, position): weight for index, weights in given for position, weight in enumerate(weights) if weight}


def _unknown_bottoms(layers: Layers, bottoms: list[Bottom]) -> Findings:
    """An error for each blob that nothing above makes, however many layers read it."""
    errors = Findings()
    first: dict[str, Bottom] = {}
    for index, position in bottoms:
        first.setdefault(layers.params[index].bottom[position], (index, position))
    for index, position in first.values():
        errors.add(_unknown_bottom(layers, index, position))
    return errors


def _unknown_bottom(layers: Layers, index: int, position: int) -> NetcError:
    layer, known = layers.params[index], list(dict.fromkeys(top for one in layers.params[:index] for top in one.top))
    blob = layer.bottom[position]
    near, hint, related = did_you_mean(blob, known), None, []
    later = next((i for i in range(index, len(layers.params)) if blob in layers.params[i].top), None)
    if later == index:
        near, hint = "", f'"{blob}" is its own top; to work in place it needs a layer above that makes the blob'
    elif later is not None:
        name = layers.params[later].name
        near, hint = "", f'move layer "{name}" up'
        related = [(layers.origins[later].start, f'layer "{name}" produces it, but further down')]
    elif blob in layers.dropped:
        name, origin = layers.dropped[blob]
        near = ""
        hint = "change the include or exclude rules of one of the two, or the phase, level or stages asked for"
        related = [(origin.start, f'layer "{name}" produces it, but its rules leave it out of this net')]
    elif not near:
        hint = "blobs before this layer: " + (", ".join(known[-8:]) or "none")
    message = f'layer "{layer.name}": no layer above produces the bottom "{blob}"{near}'
    return NetcError("G402", message, layers.origins[index].place(f"bottom[{position}]"), hint, related)


def _split(params: list[Any], top: Top, readers: list[Bottom], weight: float) -> Any:
    """The Split layer of a top; its readers, and the loss weight if there is one, move to the copies."""
    index, position = top
    producer = params[index]
    blob = producer.top[position]
    name = f"{blob}_{producer.name or index}_{position}_split"
    copies = [f"{name}_{copy}" for copy in range(len(readers) + (weight != 0))]
    layer = type(producer)(name=name, type=Split.type, bottom=[blob], top=copies)
    if weight:  # the weight moves to the first copy
        producer.ClearField("loss_weight")
        layer.loss_weight.extend([weight] + [0.0] * len(readers))
    for (reader, at), copy in zip(readers, copies[weight != 0 :], strict=True):
        params[reader].bottom[at] = copy
    return layer


def _inserted(layers: Layers, splits: dict[int, list[Any]]) -> Layers:
    """Each Split behind the layer it copies from."""
    params: list[Any] = []
    origins: list[Origin] = []
    for index, (layer, origin) in enumerate(zip(layers.params, layers.origins, strict=True)):
        here = [layer, *splits.get(index, ())]
        params += here
        origins += [origin] * len(here)
    return replace(layers, params=params, origins=origins)
