"""The schema is Caffe's, row for row, and the committed descriptor is the one that caffe.proto describes."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[2]
OWN_MESSAGES = {
    "RescaleParameter",
    "ColorShiftParameter",
    "SamplingParameter",
    "PlateauParameter",
    "TransplantParameter",
    "TransplantCopy",
}
OWN_NUMBERS = 10001
LABELS = {1: "optional", 2: "required", 3: "repeated"}


def test_fields_are_caffes(shared: Path) -> None:
    assert set(caffe_fields()) == {tuple(row) for row in table(shared / "caffe" / "fields.tsv")}


def test_enums_are_caffes(shared: Path) -> None:
    ours = {(name, value.name, str(value.number)) for name, enum in caffe_enums() for value in enum.value}
    assert ours == {tuple(row) for row in table(shared / "caffe" / "enums.tsv")}


def test_own_fields_have_high_numbers_and_own_messages() -> None:
    own = [(m.name, f) for m in file().message_type for f in m.field if f.number >= OWN_NUMBERS]
    assert {(name, f.name) for name, f in own} == {
        ("TransformationParameter", "rescale_param"),
        ("TransformationParameter", "color_shift_param"),
        ("DataParameter", "sampling_param"),
        ("SolverParameter", "plateau_param"),
        ("SolverParameter", "transplant_param"),
    }
    assert all(f.type_name.removeprefix(".caffe.") in OWN_MESSAGES for _, f in own)


def test_descriptor_is_compiled_from_caffe_proto(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc_tools")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import compile_schema

    assert compile_schema.compile_schema(compile_schema.PROTO) == compile_schema.DESCRIPTOR.read_bytes()
    sys.modules.pop("compile_schema")


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as text:
        return list(csv.reader(text, delimiter="\t"))[1:]


def file() -> Any:
    """The committed descriptor itself: a pool would print the defaults with more digits."""
    (only,) = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "proto" / "caffe.desc").read_bytes()).file
    return only


def caffe_fields() -> Iterator[tuple[str, ...]]:
    """The fields of Caffe's own messages, spelled as in fields.tsv."""
    for message in file().message_type:
        if message.name not in OWN_MESSAGES:
            yield from (row(message.name, field) for field in message.field if field.number < OWN_NUMBERS)


def row(message: str, field: Any) -> tuple[str, ...]:
    kind = field.type_name.removeprefix(".caffe.") or field.Type.Name(field.type).removeprefix("TYPE_").lower()
    flags = ["packed" if field.options.packed else "", "deprecated" if field.options.deprecated else ""]
    return message, str(field.number), LABELS[field.label], kind, field.name, field.default_value, *flags


def caffe_enums() -> Iterator[tuple[str, Any]]:
    yield from ((enum.name, enum) for enum in file().enum_type)
    for message in file().message_type:
        if message.name not in OWN_MESSAGES:
            yield from ((f"{message.name}.{enum.name}", enum) for enum in message.enum_type)
