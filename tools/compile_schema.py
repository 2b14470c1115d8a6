"""Compile proto/caffe.proto into proto/caffe.desc, the file that netc.proto loads.

    python tools/compile_schema.py

Needs grpcio-tools (in the dev extra), which carries its own protoc. The result is a serialized FileDescriptorSet
without comments, the same bytes on every machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

PROTO = Path(__file__).resolve().parent.parent / "proto" / "caffe.proto"
DESCRIPTOR = PROTO.with_suffix(".desc")


def main() -> None:
    data = compile_schema(PROTO)
    DESCRIPTOR.write_bytes(data)
    print(f"{DESCRIPTOR}: {len(data)} bytes")


def compile_schema(proto: Path) -> bytes:
    """The FileDescriptorSet of one self-contained .proto file; raises SystemExit where protoc finds an error."""
    from grpc_tools import protoc  # type: ignore[import-untyped,unused-ignore]

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.desc"
        if protoc.main(["protoc", f"-I{proto.parent}", f"--descriptor_set_out={out}", str(proto)]) != 0:
            raise SystemExit(f"{proto}: protoc found an error, see above")
        return normalise(out.read_bytes())


def normalise(data: bytes) -> bytes:
    """The set without JSON names: newer protocs write them and older ones do not, and nothing here reads them."""
    files = descriptor_pb2.FileDescriptorSet.FromString(data)
    for file in files.file:
        for message in file.message_type:
            drop_json_names(message)
    return files.SerializeToString(deterministic=True)


def drop_json_names(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        drop_json_names(nested)


if __name__ == "__main__":
    main()
