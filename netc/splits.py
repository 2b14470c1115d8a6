"""A blob that several layers read gets a Split layer, as Caffe inserts it (insert_splits.cpp).

Caffe needs the copies to add up gradients; torch does not. They are inserted all the same: blob names, the layer list
of a snapshot, and which nets are legal (a blob read before it is overwritten in place is not) depend on them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from netc.draft import Draft
from netc.errors import Findings, NetcError, did_you_mean, raise_all
from netc.layers.base import Origin

Top = tuple[int, int]
"""(layer index, top index) of a blob's writer."""


def insert_splits(draft: Draft) -> Draft:
    """Raises NetcError G402 for every bottom that no earlier layer produces."""
    source_of, uses, loss = _count_uses(draft)
    if not any(count > 1 for count in uses.values()):
        return draft
    layers: list[Any] = []
    origins: list[Origin] = []
    taken: Counter[Top] = Counter()
    for index, (layer, origin) in enumerate(zip(draft.param.layer, draft.origins, strict=True)):
        copy = type(layer)()
        copy.CopyFrom(layer)
        for position, blob in enumerate(layer.bottom):
            top = source_of[index, position]
            if uses[top] > 1:
                copy.bottom[position] = split_blob(draft, top, blob, taken[top])
                taken[top] += 1
        layers.append(copy)
        origins.append(origin)
        for position, blob in enumerate(layer.top):
            top = (index, position)
            if uses[top] > 1:
                layers.append(_split(draft, copy, top, blob, uses[top], loss.get(top, 0.0)))
                origins.append(origin)
                taken[top] += loss.get(top, 0.0) != 0
    del draft.param.layer[:]
    draft.param.layer.extend(layers)
    draft.origins = origins
    return draft


def _count_uses(draft: Draft) -> tuple[dict[Top, Top], Counter[Top], dict[Top, float]]:
    """Which top each bottom reads, how often each top is read (a loss weight counts as once), and the loss weights."""
    writer: dict[str, Top] = {}
    source_of: dict[Top, Top] = {}
    uses: Counter[Top] = Counter()
    loss: dict[Top, float] = {}
    errors = Findings()
    unknown: set[str] = set()
    for index, (layer, origin) in enumerate(zip(draft.param.layer, draft.origins, strict=True)):
        for position, blob in enumerate(layer.bottom):
            if blob in writer:
                source_of[index, position] = writer[blob]
                uses[writer[blob]] += 1
            elif blob not in unknown:  # once a blob, however many layers read it
                unknown.add(blob)
                errors.add(_unknown_bottom(draft, index, position, writer, origin))
        for position, blob in enumerate(layer.top):
            writer[blob] = (index, position)
        for blob, weight in zip(layer.top, layer.loss_weight, strict=False):
            loss[writer[blob]] = weight
            uses[writer[blob]] += weight != 0
    raise_all(errors)
    return source_of, uses, loss


def _unknown_bottom(draft: Draft, index: int, position: int, writer: dict[str, Top], origin: Origin) -> NetcError:
    layer = draft.param.layer[index]
    blob = layer.bottom[position]
    near, hint, related = did_you_mean(blob, writer), None, []
    later = next((i for i in range(index, len(draft.param.layer)) if blob in draft.param.layer[i].top), None)
    if later == index:
        near, hint = "", f'"{blob}" is its own top; to work in place it needs a layer above that makes the blob'
    elif later is not None:
        name = draft.param.layer[later].name
        near, hint = "", f'move layer "{name}" up'
        related = [(draft.origins[later].start, f'layer "{name}" produces it, but further down')]
    elif blob in draft.dropped:
        name, place = draft.dropped[blob]
        near, hint = (
            "",
            "change the include or exclude rules of one of the two, or the phase, level or stages asked for",
        )
        related = [(place, f'layer "{name}" produces it, but its rules leave it out of this net')]
    elif not near:
        hint = "blobs before this layer: " + (", ".join(list(writer)[-8:]) or "none")
    message = f'layer "{layer.name}": no layer above produces the bottom "{blob}"{near}'
    return NetcError("G402", message, origin.place(f"bottom[{position}]"), hint, related)


def split_blob(draft: Draft, top: Top, blob: str, copy: int) -> str:
    """The name of one copy: <blob>_<layer>_<top index>_split_<copy>."""
    return f"{_split_name(draft, top, blob)}_{copy}"


def _split_name(draft: Draft, top: Top, blob: str) -> str:
    return f"{blob}_{draft.param.layer[top[0]].name or top[0]}_{top[1]}_split"


def _split(draft: Draft, producer: Any, top: Top, blob: str, count: int, weight: float) -> Any:
    layer = type(producer)(name=_split_name(draft, top, blob), type="Split", bottom=[blob])
    layer.top.extend(split_blob(draft, top, blob, copy) for copy in range(count))
    if weight:  # the weight moves to the first copy
        producer.ClearField("loss_weight")
        layer.loss_weight.extend([weight] + [0.0] * (count - 1))
    return layer
