"""The messages and enums of caffe.proto under the names that protoc's module gives them.

    from caffe.proto import caffe_pb2
    net = caffe_pb2.NetParameter()
    google.protobuf.text_format.Merge(open("net.prototxt").read(), net)

They are netc's own classes (netc.proto), from a pool of their own: they know netc's and the forks' fields too, and a
plug-in's from the time that it is loaded.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import text_format as text_format  # py-faster-rcnn finds it as google.protobuf.text_format

from netc import proto


def __getattr__(name: str) -> Any:
    """A message class, an enum (`Phase.Name(0)`), a value of a top-level enum, or a descriptor (`_NETPARAMETER`)."""
    file = proto.pool().FindFileByName("caffe.proto")
    if name == "DESCRIPTOR":
        return file
    if name in file.message_types_by_name:
        return proto.message(name)
    if name in file.enum_types_by_name:
        from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

        return EnumTypeWrapper(file.enum_types_by_name[name])
    for enum in file.enum_types_by_name.values():
        if name in enum.values_by_name:
            return enum.values_by_name[name].number
    for kinds in (file.message_types_by_name, file.enum_types_by_name):
        for kind, descriptor in kinds.items():
            if name == f"_{kind.upper()}":
                return descriptor
    raise AttributeError(f"module 'caffe.proto.caffe_pb2' has no attribute {name!r}")


def __dir__() -> list[str]:
    file = proto.pool().FindFileByName("caffe.proto")
    values = [name for enum in file.enum_types_by_name.values() for name in enum.values_by_name]
    return sorted([*file.message_types_by_name, *file.enum_types_by_name, *values, "DESCRIPTOR"])
