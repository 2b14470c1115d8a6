"""A binary net or solver in the current format, its blobs passed through as they are (Caffe's
upgrade_net_proto_binary), however large: they are never in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netc.files.wire import WireField, field_head
from netc.prototxt.binary import Binary, blobs_of

Chunk = bytes | memoryview

_LAYER, _BLOBS = 100, 7
"""Numbers of NetParameter.layer and LayerParameter.blobs."""


def upgraded_binary(file: Binary, param: Any) -> Iterator[Chunk] | None:
    """The bytes of the upgraded file, in pieces, `param` being its message in the current format; None where it is in
    that format already.

    Raises NetcError as reading the file.
    """
    given = file.message()
    if param == given:
        return None
    return iter([param.SerializeToString()]) if file.kind == "solver" else _net(file, given, param)


def _net(file: Binary, given: Any, param: Any) -> Iterator[Chunk]:
    blobs = list(blobs_of(file.wire))
    if given.layers:
        stays = [layer.layer.type != "padding" for layer in given.layers]
        blobs = [found for found, stay in zip(blobs, stays, strict=True) if stay]
    blobs = [[]] * (len(param.layer) - len(blobs)) + blobs  # the Input layer, which the old file does not have
    head = type(param)()
    head.CopyFrom(param)
    head.ClearField("layer")
    yield head.SerializeToString()
    for layer, own in zip(param.layer, blobs, strict=True):
        yield from _layer(file, layer, own)


def _layer(file: Binary, layer: Any, blobs: list[WireField]) -> Iterator[Chunk]:
    """One `layer` field: what is numbered below the blobs, the blobs, the rest."""
    before, after = type(layer)(), type(layer)()
    before.CopyFrom(layer)
    after.CopyFrom(layer)
    before.DiscardUnknownFields()
    for field in layer.DESCRIPTOR.fields:
        (before if field.number > _BLOBS else after).ClearField(field.name)
    pieces: list[Chunk] = [before.SerializeToString()]
    for blob in blobs:
        pieces += [field_head(_BLOBS, blob.end - blob.start), file.wire.bytes[blob.start : blob.end]]
    pieces.append(after.SerializeToString())
    yield field_head(_LAYER, sum(map(len, pieces)))
    yield from pieces
