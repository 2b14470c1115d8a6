"""A net as a file has it: its message in the current format, and the place of each layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from netc.errors import NetcError, Place, printable
from netc.errors.origin import Origin
from netc.prototxt.ast import Message
from netc.prototxt.source import Source

if TYPE_CHECKING:
    from netc.errors.remark import Advice


@dataclass(slots=True)
class Draft:
    """`origins` runs parallel to `param.layer`. A draft of a message or binary file has no tree.

    Once it is in the current format no stage changes it, so that one draft serves any number of phases.
    """

    param: Any
    origins: list[Origin] = field(default_factory=list)
    source: Source | None = None
    tree: Message | None = None

    original: Any = None
    """The message as the file has it, in whatever format; set by the upgrade."""

    weights: str = ""
    """The path of a binary file whose layers have learned arrays; "" where the net came without any."""

    remarks: list[Advice] = field(default_factory=list)
    """What the upgrade of an older format dropped, as Caffe does, without an error."""

    @property
    def path(self) -> str:
        return self.source.path if self.source else "<NetParameter>"

    def place(self, path: str) -> Place:
        """The place of a dotted field path of the net itself, or the file's name where it has none."""
        return self.find(path) or Place(self.path)

    def find(self, path: str) -> Place | None:
        if self.source and self.tree:
            return locate(self.source, self.tree, path)
        return Place(self.path, part=path) if self.original is not None and is_set(self.original, path) else None

    def fail(self, code: str, message: str, path: str = "", hint: str | None = None) -> NetcError:
        return NetcError(code, message, self.place(path), hint)

    def remark(self, code: str, message: str, place: Place, hint: str | None = None) -> None:
        from netc.errors.remark import Advice  # a net of the current format has no need of it here

        self.remarks.append(Advice(code, message, place, hint))


def origins_of_field(draft: Draft, field_name: str) -> list[Origin]:
    """The origin of each of the net's layers; `field_name`: "layer", or "layers" in the older formats."""
    if draft.source and draft.tree:
        return origins_of(draft.source, draft.tree, field_name)
    return message_origins(getattr(draft.original, field_name), draft.path)


def message_origins(layers: Iterable[Any], path: str) -> list[Origin]:
    """The origins of layers that come from no text: the place is the layer's name, and the field where it is set.
    The layers must stay as they are."""
    return [_message_origin(layer, path) for layer in layers]


def _message_origin(layer: Any, path: str) -> Origin:
    name = layer_label(layer)

    def find(spot: str) -> Place | None:
        return Place(path, part=f"{name}, {spot}") if is_set(layer, spot) else None

    return Origin(Place(path, part=name), find)


def layer_label(layer: Any) -> str:
    """What a layer of any format is called in a place: 'layer "conv1"'."""
    inside = "layer" in layer.DESCRIPTOR.fields_by_name and layer.HasField("layer")  # V0
    name = layer.layer.name if inside else layer.name
    return f'layer "{printable(name if isinstance(name, str) else name.decode("utf-8", "replace"))}"'


def is_set(message: Any, path: str) -> bool:
    """Whether a message has a value at a dotted path such as "convolution_param.kernel_size" or "bottom[1]"."""
    for step in path.split("."):
        name, _, index = step.rstrip("]").partition("[")
        values = _values(message, name)
        if int(index or 0) >= len(values):
            return False
        message = values[int(index or 0)]
    return True


def _values(message: Any, name: str) -> Sequence[Any]:
    """The values of a field: none where it is not set, or where `message` is a scalar or has no such field."""
    field = message.DESCRIPTOR.fields_by_name.get(name) if hasattr(message, "DESCRIPTOR") else None
    if field is None:
        return ()
    if field.is_repeated:
        values: Sequence[Any] = getattr(message, name)
        return values
    return (getattr(message, name),) if message.HasField(name) else ()


def origins_of(source: Source, tree: Message, field_name: str = "layer") -> list[Origin]:
    """The origin of each `field_name { … }` block of the file, in order."""
    found = []
    for item in tree.named(field_name):
        for value in item.values():
            if isinstance(value, Message):
                offset, length = (item.offset, len(item.name)) if value is item.value else (value.offset, 1)
                found.append(origin(source, value, offset, length))
    return found


def origin(source: Source, message: Message, offset: int, length: int) -> Origin:
    return Origin(partial(source.place, offset, length), partial(locate, source, message))


def locate(source: Source, message: Message, path: str) -> Place | None:
    """The place of a dotted path such as "convolution_param.kernel_size" or "bottom[1]"; None if it is not written."""
    for step in path.split("."):
        name, _, index = step.rstrip("]").partition("[")
        spots = ((item, value) for item in message.named(name) for value in item.values())
        spot = next(islice(spots, int(index) if index else 0, None), None)
        if spot is None:
            return None
        item, value = spot
        if isinstance(value, Message):
            message, place = value, source.place(item.offset, len(item.name))
        else:
            place = source.place(value.offset, len(value.text))
    return place
