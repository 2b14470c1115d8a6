"""The schema as Python classes: `netc.proto.NetParameter`, `SolverParameter`, `Datum`, … and the enum `Phase`.

    from netc import proto

    net = proto.NetParameter(name="vgg_A")
    proto.message("LayerParameter")                        # a class by its name
    proto.enum("PoolingParameter.PoolMethod").MAX          # an IntEnum; Phase, TRAIN and TEST are attributes too
    proto.comment("ConvolutionParameter.kernel_size")      # what caffe.proto says about it

The classes are built on first use from caffe.desc (compiled from caffe.proto by tools/compile_schema.py) in a
descriptor pool of their own: they do not depend on the protobuf version that compiled them, and another caffe.proto
loaded by somebody else in the same process does not collide with them.
"""

from __future__ import annotations

import enum as _enum
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

PACKAGE = "caffe"


def __getattr__(name: str) -> Any:
    """A message class or top-level enum by its name, or a value of Phase; AttributeError for anything else."""
    make = None if name.startswith("_") else _top_level().get(name)
    if make is None:
        raise AttributeError(f"module {__name__!r} has no message or enum {name!r}")
    return globals().setdefault(name, make())


def __dir__() -> list[str]:
    return sorted({*globals(), *_top_level()})


def message(name: str) -> Any:
    """The class of the message `name` ("LayerParameter"; "caffe.LayerParameter" too). KeyError if there is none."""
    from google.protobuf.message_factory import GetMessageClass

    cls = GetMessageClass(pool().FindMessageTypeByName(_full(name)))
    cls.__module__ = __name__  # so that messages pickle on their way to a worker process
    return cls


@cache
def enum(name: str) -> type[_enum.IntEnum]:
    """The enum `name` ("Phase", "PoolingParameter.PoolMethod") as an IntEnum. KeyError if there is none."""
    descriptor = pool().FindEnumTypeByName(_full(name))
    values = [(value.name, value.number) for value in descriptor.values]
    return _enum.IntEnum(descriptor.name, values, module=__name__)  # type: ignore[return-value,unused-ignore]


def messages() -> list[str]:
    """The names of all messages, in the order of caffe.proto."""
    return list(_file().message_types_by_name)


@cache
def _schema() -> dict[str, Any]:
    """What plug-ins change: the pool, and the comments on what they have added."""
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet.FromString(_data("caffe.desc")).file
    return {"pool": _pool_of(file.SerializeToString() for file in files), "comments": {}}


def pool() -> Any:
    """The private DescriptorPool that holds the schema."""
    return _schema()["pool"]


def _pool_of(files: Iterable[bytes]) -> Any:
    from google.protobuf import descriptor_pool

    own = descriptor_pool.DescriptorPool()
    for file in files:
        own.AddSerializedFile(file)
    return own


def extend(additions: Iterable[tuple[str, int, Any]], comments: Mapping[str, str]) -> None:
    """Give LayerParameter further fields: (name, number, DescriptorProto of the message it holds).

    A pool cannot be changed, so a new one takes its place, and classes come from that: messages made before stay what
    they are, of the old classes (`renewed` brings them up to date). Raises TypeError, and changes nothing, for a schema
    that cannot be.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto()
    _file().CopyToProto(file)
    layer = next(message for message in file.message_type if message.name == "LayerParameter")
    for name, number, message in additions:
        file.message_type.append(message)
        layer.field.add(name=name, number=number, label=1, type=11, type_name=f".{PACKAGE}.{message.name}")
    _use({"pool": _pool_of([file.SerializeToString()]), "comments": {**_schema()["comments"], **comments}})


def _use(schema: dict[str, Any]) -> dict[str, Any]:
    """Replace the schema, and forget what was made from it; returns the one before."""
    before = dict(_schema())
    for name in _top_level():
        globals().pop(name, None)
    _schema().update(schema)
    enum.cache_clear()
    _top_level.cache_clear()
    return before


def renewed(old: Any) -> Any:
    """The same message in the class that its name has now: itself, unless a plug-in was loaded since it was made."""
    cls = message(old.DESCRIPTOR.name)
    return old if isinstance(old, cls) else cls.FromString(old.SerializePartialToString())


def comment(name: str) -> str:
    """What caffe.proto says about a message, field, enum or enum value, on one line; "" where it has no comment.

    `name` is as in "NetParameter", "NetParameter.layer", "PoolingParameter.PoolMethod" or
    "PoolingParameter.PoolMethod.MAX", with or without the package in front. KeyError if the schema has no such name.
    """
    name = name.removeprefix(f"{PACKAGE}.")
    added: dict[str, str] = _schema()["comments"]
    return added[name] if name in added else _comments()[name]


@cache
def _comments() -> dict[str, str]:
    from .comments import read_comments

    return read_comments(_data("caffe.proto").decode())


def _data(file_name: str) -> bytes:
    from importlib import resources  # not above: it costs as much as all the rest of this module

    return resources.files(__name__).joinpath(file_name).read_bytes()


def _file() -> Any:
    return pool().FindFileByName("caffe.proto")


@cache
def _top_level() -> dict[str, Callable[[], Any]]:
    """What this module offers by name, and how to make it."""
    table: dict[str, Callable[[], Any]] = {name: partial(message, name) for name in _file().message_types_by_name}
    for name, descriptor in _file().enum_types_by_name.items():
        table[name] = partial(enum, name)
        table |= {value.name: partial(int, value.number) for value in descriptor.values}
    return table


def _full(name: str) -> str:
    return name if name.startswith(f"{PACKAGE}.") else f"{PACKAGE}.{name}"
