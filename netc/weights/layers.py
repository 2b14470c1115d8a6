"""The layers of a .caffemodel with everything the file says about them, and the net that they make.

Only blobs are large; the rest of the file goes through protobuf, so fields of forks are kept and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netc import proto
from netc.errors import NetcError, Place, counted
from netc.files.wire import WireField
from netc.prototxt.binary import refuse_many
from netc.prototxt.source import MAX_BYTES, MAX_FIELDS
from netc.weights.arrays import Array
from netc.weights.blob import StoredBlob
from netc.weights.files import WeightSource, open_source
from netc.weights.formats.caffemodel import LAYER, NET, V0, V1, CaffeFile, LayerEntry
from netc.weights.reader import format_of

MAX_SETTINGS = MAX_BYTES
"""Most bytes of a file that are not blobs: the largest nets have a few hundred thousand."""

BLOB_FIELDS = {"current": LAYER["blobs"], "V1": V1["blobs"], "V0": V0["blobs"]}


@dataclass(slots=True)
class StoredLayer:
    """A layer as it stands in a file.

    Attributes:
        name, type: as in the file ("Convolution", in V1 "CONVOLUTION", in V0 "conv").
        version: "V0", "V1" or "current".
        param: the LayerParameter (V0 and V1: the V1LayerParameter) without its blobs.
        blobs: arrays, shapes and gradients.
        replaced: a later layer of the same name counts instead, as in Caffe.
        unknown: "message field" → how often a field occurs that Caffe's schema does not have.
    """

    name: str
    type: str
    version: str
    param: Any
    blobs: list[StoredBlob]
    replaced: bool
    unknown: Counter[str]

    @property
    def arrays(self) -> list[Array]:
        return [blob.array for blob in self.blobs]


@dataclass(slots=True)
class StoredNet:
    """A .caffemodel. `param`: its NetParameter without layers; `unknown`: as in a layer, for the whole file."""

    path: str
    param: Any
    layers: list[StoredLayer]
    unknown: Counter[str]

    @property
    def version(self) -> str:
        """ "V0", "V1" or "current"."""
        found = {layer.version for layer in self.layers}
        return next((version for version in ("V0", "V1") if version in found), "current")


def read_layers(source: WeightSource, diffs: bool = False) -> StoredNet:
    """Everything in a .caffemodel, its layers in the order of the file; arrays are views as with `read`.
    Raises NetcError F110, X110, W701-W704, W740 (settings larger than any net's), W741."""
    file = _open(source)
    entries = list(file.entries())
    if not entries:
        raise file._foreign("it has no layers")
    _refuse_large(file, entries)
    last = {entry.name: index for index, entry in enumerate(entries)}
    layers = [_layer(file, entry, last[entry.name] != index, diffs) for index, entry in enumerate(entries)]
    param = _parse(
        file, "NetParameter", _around(file, WireField(0, 2, 0, len(file.wire)), set(NET.values())), "the net"
    )
    return StoredNet(file.path, param, layers, sum((layer.unknown for layer in layers), unknown_fields(param)))


def read_net(source: WeightSource) -> Any:
    """The NetParameter of a .caffemodel without its blobs, in the file's own format: what the weights were trained in.
    Raises NetcError as `read_layers`, P104 (more fields than any net), and W742 where a name is not
    UTF-8."""
    file = _open(source)
    entries = list(file.entries())
    _refuse_large(file, entries)
    net = _parse(file, "NetParameter", _around(file, WireField(0, 2, 0, len(file.wire)), set(NET.values())), "the net")
    for entry in entries:
        layers = net.layer if entry.version == "current" else net.layers
        layers.append(_param(file, entry))
    refuse_many(net, file.path)
    bad = _not_utf8(net)
    if bad is not None:
        raise NetcError(
            "W742",
            f"the field {bad} is text that is not UTF-8",
            Place(file.path),
            "give the net as a .prototxt beside the weights",
        )
    return net


def unknown_fields(message: Any) -> Counter[str]:
    """ "message field" → how often a message and those in it have a field that the schema does not."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    fields: Any = UnknownFieldSet(message)
    found = Counter(f"{message.DESCRIPTOR.name} {item.field_number}" for item in fields)
    for inner in _messages(message):
        found += unknown_fields(inner)
    return found


def _open(source: WeightSource) -> CaffeFile:
    name, buffer = open_source(source)
    if format_of(buffer) != "caffemodel":
        hint = "give the .caffemodel, or the net as a .prototxt beside the weights"
        raise NetcError("W743", "this file holds arrays and no layers", Place(name), hint)
    return CaffeFile(name, buffer)


def _layer(file: CaffeFile, entry: LayerEntry, replaced: bool, diffs: bool) -> StoredLayer:
    param, blobs = _param(file, entry), file.blobs(entry, diffs)
    unknown = unknown_fields(param) + Counter(f"BlobProto {number}" for blob in blobs for number in blob.unknown)
    return StoredLayer(entry.name, _type(entry), entry.version, param, blobs, replaced, unknown)


def _type(entry: LayerEntry) -> str:
    """V1 has an enum; a number that it lacks is one of a fork."""
    if entry.version != "V1":
        return entry.type
    number = int(entry.type) if entry.type.isdecimal() and len(entry.type) < 10 else 0
    known = {int(value): value.name for value in proto.enum("V1LayerParameter.LayerType")}
    return known.get(number, f"type {number}")


def _param(file: CaffeFile, entry: LayerEntry) -> Any:
    label = f'layer "{entry.name}"'
    numbers = {BLOB_FIELDS[entry.version]}
    if entry.version != "V0":
        kind = "LayerParameter" if entry.version == "current" else "V1LayerParameter"
        return _parse(file, kind, _around(file, entry.outer, numbers), label)
    param = _parse(file, "V1LayerParameter", _around(file, entry.outer, {V1["layer"], V1["blobs"]}), label)
    param.layer.MergeFrom(_parse(file, "V0LayerParameter", _around(file, entry.inner, numbers), label))
    return param


def _parse(file: CaffeFile, kind: str, data: bytes, label: str) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return proto.message(kind).FromString(data)
    except DecodeError as error:
        raise NetcError(
            "W702",
            f"{label} is damaged: its settings are not a {kind} ({error})",
            Place(file.path),
            "copy or download the file again",
        ) from None


def _around(file: CaffeFile, span: WireField, left_out: set[int]) -> bytes:
    """The bytes of a message without some of its fields."""
    kept, start = bytearray(), span.start
    at = span.start
    for part in file.wire.fields(span.start, span.end):
        if part.number in left_out:
            kept += file.wire.bytes[start:at]
            start = part.end
        at = part.end
    return bytes(kept + file.wire.bytes[start : span.end])


def _refuse_large(file: CaffeFile, entries: list[LayerEntry]) -> None:
    if len(entries) > MAX_FIELDS:
        message = f"the file has {len(entries):,} layers; a net may have {MAX_FIELDS:,} fields in all"
        raise NetcError("W740", message, Place(file.path), "is this the .caffemodel itself?")
    blobs = sum(blob.end - blob.start for entry in entries for blob in entry.blobs)
    if len(file.wire) - blobs > MAX_SETTINGS:
        raise NetcError(
            "W740",
            f"{len(file.wire) - blobs:,} bytes of the file are not weights; a net's settings take "
            f"{counted(MAX_SETTINGS, 'byte')} at most",
            Place(file.path),
            "is this the .caffemodel itself?",
        )


def _messages(message: Any) -> Iterator[Any]:
    for field, value in message.ListFields():
        if field.message_type is not None:
            yield from value if _many(value) else (value,)


def _many(value: Any) -> bool:
    return not hasattr(value, "ListFields") and not isinstance(value, str | bytes)


def _not_utf8(message: Any) -> str | None:
    """The first string field that is not UTF-8: protobuf hands such a one on as bytes."""
    for field, value in message.ListFields():
        texts = value if _many(value) else (value,)
        if field.type == field.TYPE_STRING and any(isinstance(text, bytes) for text in texts):
            return f"{message.DESCRIPTOR.name}.{field.name}"
    return next((bad for inner in _messages(message) if (bad := _not_utf8(inner)) is not None), None)
