"""The schema is Caffe's, row for row, and the committed descriptor is the one that caffe.proto describes."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from netc import proto

ROOT = Path(__file__).resolve().parents[2]
OWN_MESSAGES = {
    "RescaleParameter",
    "ColorShiftParameter",
    "SamplingParameter",
    "PlateauParameter",
    "TransplantParameter",
    "TransplantCopy",
    "LabelSliceParameter",
    "OverrideParameter",
    "ScheduleStep",
    "ScheduleParameter",
    "TableParameter",
    "TableRow",
    "TableNet",
    "TableTask",
    "TableFigure",
}
OWN_NUMBERS = range(10001, 10100)
FORKS = re.compile(
    r"(Of forks, )?(SSD|NVIDIA|Intel|Fast R-CNN|R-FCN|FCN|SegNet|DeepLab|PSPNet|Cysu|yjxiong|YOLO|MobileNet-YOLO|"
    r"ShuffleNet|PVANet|warp-ctc)(,? (and )?[-\w]+)*[:.] ?"
)
FORK_NUMBERS = {8266711, 8266712, 6801, 6802, 601, 602, 164, *range(200, 208), *range(8, 17)}
"""Numbers that the forks themselves use; all their other fields are numbered from 10100 up."""
ENUMS_OF_FORKS = {
    "BatchNormParameter.Engine",
    "ConcatParameter.Engine",
    "ConvolutionParameter.CuDNNConvolutionAlgorithmSeeker",
    "EltwiseParameter.Engine",
    "TransformationParameter.InterpolationAlgo",
}
LABELS = {1: "optional", 2: "required", 3: "repeated"}


def test_fields_are_caffes(shared: Path) -> None:
    assert set(caffe_fields()) == {tuple(row) for row in table(shared / "caffe" / "fields.tsv")}


def test_enums_are_caffes(shared: Path) -> None:
    ours = {(name, value.name, str(value.number)) for name, enum in caffe_enums() for value in enum.value}
    ours = {row for row in ours if row[1] not in ("MKL2017", "MKLDNN") and int(row[2]) < 10100}  # of forks
    assert ours == {tuple(row) for row in table(shared / "caffe" / "enums.tsv")}


def test_own_fields_have_high_numbers_and_own_messages() -> None:
    own = [(m.name, f) for m in file().message_type for f in m.field if f.number in OWN_NUMBERS]
    assert {(name, f.name) for name, f in own} == {
        ("TransformationParameter", "rescale_param"),
        ("TransformationParameter", "color_shift_param"),
        ("TransformationParameter", "ignore_orientation"),
        ("TransformationParameter", "random_group"),
        ("DataParameter", "sampling_param"),
        ("SolverParameter", "plateau_param"),
        ("SolverParameter", "transplant_param"),
        ("SolverParameter", "shards"),
        ("SolverParameter", "override_param"),
        ("LayerParameter", "label_slice_param"),
    }
    assert all(f.type_name.removeprefix(".caffe.") in OWN_MESSAGES for _, f in own if f.type_name)


def test_fields_of_forks_name_them_and_leave_caffes_numbers_alone() -> None:
    fields = [(m.name, f) for m in file().message_type if m.name not in of_forks() for f in m.field]
    forks = [(name, f) for name, f in fields if is_forks(f"{name}.{f.name}")]
    assert len(forks) > 80
    assert [f"{name}.{f.name}" for name, f in forks if f.number < 10100 and f.number not in FORK_NUMBERS] == []
    assert [f"{name}.{f.name}" for name, f in fields if f.number >= 10100 and not is_forks(f"{name}.{f.name}")] == []


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


def of_forks() -> set[str]:
    """The messages in the part of caffe.proto that holds those of forks."""
    text = (ROOT / "proto" / "caffe.proto").read_text(encoding="utf-8")
    part = text.partition("// Of forks: the messages")[2].partition("// Legacy: ")[0]
    return set(re.findall(r"^message (\w+)", part, re.MULTILINE))


def is_forks(name: str) -> bool:
    """Whether a field, enum or value is a fork's: its comment begins with the fork's name."""
    return FORKS.match(proto.comment(name)) is not None


def caffe_fields() -> Iterator[tuple[str, ...]]:
    """The fields of Caffe's own messages, spelled as in fields.tsv."""
    for message in file().message_type:
        if message.name not in OWN_MESSAGES | of_forks():
            kept = [
                f for f in message.field if f.number not in OWN_NUMBERS and not is_forks(f"{message.name}.{f.name}")
            ]
            yield from (row(message.name, field) for field in kept)


def row(message: str, field: Any) -> tuple[str, ...]:
    kind = field.type_name.removeprefix(".caffe.") or field.Type.Name(field.type).removeprefix("TYPE_").lower()
    flags = ["packed" if field.options.packed else "", "deprecated" if field.options.deprecated else ""]
    return message, str(field.number), LABELS[field.label], kind, field.name, field.default_value, *flags


def caffe_enums() -> Iterator[tuple[str, Any]]:
    yield from ((enum.name, enum) for enum in file().enum_type if enum.name != "Type")
    for message in file().message_type:
        if message.name not in OWN_MESSAGES | of_forks():
            names = [(f"{message.name}.{enum.name}", enum) for enum in message.enum_type]
            yield from ((name, enum) for name, enum in names if name not in ENUMS_OF_FORKS)
