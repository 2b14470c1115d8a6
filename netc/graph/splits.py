"""A blob that several layers read gets a Split layer, as Caffe inserts it (insert_splits.cpp).

Caffe needs the copies to add up gradients; torch does not. They are inserted all the same: blob names, the layer list
of a snapshot, and which nets are legal (a blob read before it is overwritten in place is not) depend on them.
"""

from __future__ import annotations

from typing import Any

from netc.errors import Findings, NetcError, did_you_mean, raise_all
from netc.errors.origin import Origin
from netc.prototxt.draft import Layers

Spot = tuple[int, int]
"""(layer index, position): the writer of a blob by its top, a reader by its bottom."""


def insert_splits(layers: Layers) -> Layers:
    """Raises NetcError G402 for every bottom that no earlier layer produces."""
    readers, weights = _readers(layers)
    splits: dict[int, list[Any]] = {}
    for top in sorted(readers):
        if len(readers[top]) + (top in weights) > 1:
            splits.setdefault(top[0], []).append(_split(layers, top, readers[top], weights.get(top, 0.0)))
    if splits:
        _insert(layers, splits)
    return layers


def _readers(layers: Layers) -> tuple[dict[Spot, list[Spot]], dict[Spot, float]]:
    """The bottoms that read each top, and the tops with a loss weight (which counts as a reader)."""
    writer: dict[str, Spot] = {}
    readers: dict[Spot, list[Spot]] = {}
    weights: dict[Spot, float] = {}
    errors = Findings()
    unknown: set[str] = set()
    for index, layer in enumerate(layers.params):
        for position, blob in enumerate(layer.bottom[:]):  # a slice: protobuf's own iteration is slow
            if (top := writer.get(blob)) is not None:
                readers.setdefault(top, []).append((index, position))
            elif blob not in unknown:  # once a blob, however many layers read it
                unknown.add(blob)
                errors.add(_unknown_bottom(layers, index, position, writer))
        for position, blob in enumerate(layer.top[:]):
            writer[blob] = (index, position)
        for position, weight in enumerate(layer.loss_weight[:]):
            if weight:
                weights[index, position] = weight
    raise_all(errors)
    return readers, weights


def _unknown_bottom(layers: Layers, index: int, position: int, writer: dict[str, Spot]) -> NetcError:
    layer = layers.params[index]
    blob = layer.bottom[position]
    near, hint, related = did_you_mean(blob, writer), None, []
    later = next((i for i in range(index, len(layers.params)) if blob in layers.params[i].top), None)
    if later == index:
        near, hint = "", f'"{blob}" is its own top; to work in place it needs a layer above that makes the blob'
    elif later is not None:
        name = layers.params[later].name
        near, hint = "", f'move layer "{name}" up'
        related = [(layers.origins[later].start, f'layer "{name}" produces it, but further down')]
    elif blob in layers.dropped:
        name, origin = layers.dropped[blob]
        near, hint = (
            "",
            "change the include or exclude rules of one of the two, or the phase, level or stages asked for",
        )
        related = [(origin.start, f'layer "{name}" produces it, but its rules leave it out of this net')]
    elif not near:
        hint = "blobs before this layer: " + (", ".join(list(writer)[-8:]) or "none")
    message = f'layer "{layer.name}": no layer above produces the bottom "{blob}"{near}'
    return NetcError("G402", message, layers.origins[index].place(f"bottom[{position}]"), hint, related)


def _split(layers: Layers, top: Spot, readers: list[Spot], weight: float) -> Any:
    """The Split layer of a top; its readers, and the loss weight if there is one, move to the copies."""
    index, position = top
    producer = layers.params[index]
    blob = producer.top[position]
    name = f"{blob}_{producer.name or index}_{position}_split"
    copies = [f"{name}_{copy}" for copy in range(len(readers) + (weight != 0))]
    layer = type(producer)(name=name, type="Split", bottom=[blob], top=copies)
    if weight:  # the weight moves to the first copy
        producer.ClearField("loss_weight")
        layer.loss_weight.extend([weight] + [0.0] * len(readers))
    for (reader, at), copy in zip(readers, copies[weight != 0 :], strict=True):
        layers.params[reader].bottom[at] = copy
    return layer


def _insert(layers: Layers, splits: dict[int, list[Any]]) -> None:
    """Put each Split behind the layer it copies from."""
    pairs: list[tuple[Any, Origin]] = []
    for index, (layer, origin) in enumerate(zip(layers.params, layers.origins, strict=True)):
        pairs.append((layer, origin))
        pairs += [(split, origin) for split in splits.get(index, ())]
    layers.params, layers.origins = [layer for layer, _ in pairs], [origin for _, origin in pairs]
