"""V0's layers of type "padding": the convolution or pooling that reads one takes over its pad."""

from __future__ import annotations

from typing import Any

from netc.errors import Findings, NetcError, Place, did_you_mean, raise_all
from netc.errors.origin import Origin
from netc.prototxt.draft import Draft
from netc.upgrade.mixed import is_v0

_FOLDS = ("conv", "pool")


def fold_padding(draft: Draft) -> None:
    """Remove the padding layers of a V0 net; their readers get their `pad` and their bottom.

    Raises NetcError G402 (a bottom nobody produces: Caffe looks for that here, in V0 nets with and without padding),
    U113 (a padding layer, or its reader, of a kind that cannot be folded).
    """
    if not draft.param.layers or not is_v0(draft):
        return
    layers = list(draft.param.layers)
    writer: dict[str, int | None] = dict.fromkeys(draft.param.input)
    errors = Findings()
    for index, layer in enumerate(layers):
        for position, blob in enumerate(layer.bottom):
            if blob not in writer:
                errors.add(_unknown(layer, blob, draft.origins[index].place(f"bottom[{position}]"), writer))
            elif (above := writer[blob]) is not None and layers[above].layer.type == "padding":
                if fault := _misfit(layer, layers[above]):
                    hint = "padding is a setting of the convolution or pooling itself: `pad` in its `layer` block"
                    errors.add(NetcError("U113", fault, draft.origins[index].place(f"bottom[{position}]"), hint))
                else:
                    _fold(draft, layer, index, position, above)
        writer.update(dict.fromkeys(layer.top, index))
    raise_all(errors)
    for index in reversed([i for i, layer in enumerate(layers) if layer.layer.type == "padding"]):
        del draft.param.layers[index], draft.origins[index]


def _unknown(layer: Any, blob: str, place: Place, known: dict[str, Any]) -> NetcError:
    near = did_you_mean(blob, known)
    hint = None if near else "blobs before this layer: " + (", ".join(list(known)[-8:]) or "none")
    return NetcError(
        "G402", f'layer "{layer.layer.name}": no layer above produces the bottom "{blob}"{near}', place, hint
    )


def _misfit(layer: Any, padding: Any) -> str | None:
    """Why a reader and its padding layer cannot become one."""
    name, pad = layer.layer.name, padding.layer.name
    if layer.layer.type not in _FOLDS:
        return f'layer "{name}" reads the padding layer "{pad}", which only convolutions and poolings may do'
    if len(layer.bottom) != 1:
        return f'layer "{name}" reads the padding layer "{pad}" and so takes 1 bottom, not {len(layer.bottom)}'
    if len(padding.bottom) != 1 or len(padding.top) != 1:
        return f'the padding layer "{pad}" takes 1 bottom and 1 top, not {len(padding.bottom)} and {len(padding.top)}'
    return None


def _fold(draft: Draft, layer: Any, index: int, position: int, above: int) -> None:
    padding, origin, reader = draft.param.layers[above], draft.origins[above], draft.origins[index]
    layer.layer.pad = padding.layer.pad
    layer.bottom[position] = padding.bottom[0]

    def locate(path: str) -> Place | None:
        if path == f"bottom[{position}]":
            return origin.locate("bottom[0]")
        return origin.locate(path) if path == "layer.pad" else reader.locate(path)

    draft.origins[index] = Origin(reader.start, locate)
