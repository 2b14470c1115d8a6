"""What a field that its block does not have may have meant: a misspelling, another block, another file, a fork."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from netc.errors import nearest
from netc.prototxt.ast import FieldNode, Message, Scalar
from netc.prototxt.forks import FORK_OF_FIELD, FORK_OF_TYPE

Types = Callable[[], Collection[str]]


def explain(field: FieldNode, descriptor: Descriptor, block: Message, types: Types) -> tuple[str, str | None]:
    """(end of the message, hint) for a field in `block`, which is a `descriptor` and has no such field."""
    name = field.name
    if (then := _RETIRED.get((descriptor.name, name))) is not None:
        return "", then
    if (fork := FORK_OF_FIELD.get(name)) is not None:
        return "", f"{fork} has it, a fork of Caffe; Caffe itself does not, nor does netc"
    if descriptor.name in _LAYERS and (hint := _of_its_type(field, descriptor, block, types)) is not None:
        return "", hint
    if (children := _children_with(name, descriptor, block)) != []:
        return "", f"it belongs in {_join(children)}"
    if name in _ELSEWHERE:
        return "", _ELSEWHERE[name]
    if (near := _near(name, descriptor)) is not None:
        return f'; did you mean "{near}"?', None
    if any(name in parent.fields_by_name for parent in _parents(descriptor)):
        return "", 'it belongs to the block around this one: is a "}" missing above, or out of place?'
    return "", None


_LAYERS = ("LayerParameter", "V1LayerParameter")


def _of_its_type(field: FieldNode, descriptor: Descriptor, block: Message, types: Types) -> str | None:
    """What a block is to a layer whose type netc does not have, and a field of today's format to one of 2014's."""
    old = descriptor.name == "V1LayerParameter"
    today = descriptor.file.message_types_by_name["LayerParameter"].fields_by_name
    if old and field.name in today:
        return f"{field.name} is of the current format, and `layers` of the one before 2015: {CURRENT}"
    kind = next(
        (str(text.value.text).strip("\"'") for text in block.named("type") if isinstance(text.value, Scalar)), ""
    )
    known = _values(descriptor.fields_by_name["type"]) if old else types()
    if not kind or not known or kind in known or not all(isinstance(value, Message) for value in field.values()):
        return None
    fork = f" of {FORK_OF_TYPE[kind]}" if kind in FORK_OF_TYPE else ""
    return f'it is for the layer type "{kind}"{fork}, which netc does not have; a plug-in can add it (docs/plugins.md)'


def _values(field: FieldDescriptor) -> list[str]:
    return [value.name for value in field.enum_type.values] if field.enum_type else []


FILES = {"NetParameter": "net", "SolverParameter": "solver", "ScheduleParameter": "schedule", "TableParameter": "table"}
"""The messages that are files of their own → what such a file is called."""


def other_file(tree: Message, descriptor: Descriptor) -> tuple[str, FieldNode] | None:
    """What the file is instead of the one expected, such as a net instead of a solver, and the first field that shows
    it; None where the file fits."""
    mine = descriptor.fields_by_name
    for other in FILES if descriptor.name in FILES else ():
        theirs = descriptor.file.message_types_by_name[other].fields_by_name
        if any(field.name in mine and field.name not in theirs for field in tree.fields):
            continue
        for field in tree.fields:
            if field.name in theirs and field.name not in mine:
                return FILES[other], field
    return None


def _children_with(name: str, descriptor: Descriptor, block: Message) -> list[str]:
    """The blocks inside this one that have the field: those that are written, or that of the layer's type, or all."""
    blocks = {field.name: field.message_type for field in descriptor.fields if field.message_type}
    has = {child: kind.name for child, kind in blocks.items() if name in kind.fields_by_name}
    types = {field.value.text.strip("\"'") for field in block.named("type") if isinstance(field.value, Scalar)}
    own = [child for child, kind in has.items() if kind.removesuffix("Parameter") in types]
    written = [child for child in has if next(block.named(child), None) is not None]
    return (written or own or list(has))[:4]


def _near(name: str, descriptor: Descriptor) -> str | None:
    """The nearest field; the common ending `_param` says nothing about nearness."""
    bare = {field.name.removesuffix("_param"): field.name for field in descriptor.fields}
    hits = nearest(name.removesuffix("_param"), bare, cutoff=0.7)
    return bare[hits[0]] if hits else None


@cache
def _parents(descriptor: Descriptor) -> list[Descriptor]:
    messages = descriptor.file.message_types_by_name.values()
    return [m for m in messages if any(f.message_type is descriptor for f in m.fields)]


def _join(names: list[str]) -> str:
    return " or ".join(f"`{name} {{ … }}`" for name in names)


CURRENT = 'write `layer { … }` for all layers, with quoted types like "Convolution"'
"""How a file of two formats becomes one."""

_ELSEWHERE = {
    "ceil_mode": "Caffe's pooling rounds up already; `round_mode: FLOOR` makes it round down",
    "learning_rate": "Caffe calls it base_lr",
    "lr": "Caffe calls it base_lr",
    "epochs": "Caffe counts iterations, not epochs: max_iter",
    "padding": "Caffe calls it pad",
}

_RETIRED = {
    ("NetParameter", "version"): "files of 2013 had it; it says nothing: delete it",
    ("V0LayerParameter", "can_clobber"): "files of 2013 had it; nothing reads it: delete it",
    ("V0LayerParameter", "context_pad"): "Caffe has renamed it: write det_context_pad",
    ("V0LayerParameter", "crop_mode"): "Caffe has renamed it: write det_crop_mode",
    ("V1LayerParameter", "lrn_map_param"): "Caffe has replaced it: lrn_param { norm_region: WITHIN_CHANNEL … }",
    **{
        (kind, "transform_param"): "in files of summer 2014 it stood here: move it out of this block, to "
        "stand beside it"
        for kind in ("DataParameter", "ImageDataParameter", "WindowDataParameter")
    },
}
"""(Message, field) that Caffe once had and has given up → what to do. Caffe refuses such files too."""
