"""The canonical printer, against what protobuf's C++ printed, and number by number."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from netc import proto
from netc.files.wire import varint
from netc.prototxt import Source, parse
from netc.prototxt.bind import bind
from netc.prototxt.format import canonical, quoted
from tests.netc.graph import test_zoo
from tests.netc.prototxt import test_textformat

FOLDER = Path(__file__).parents[2] / "goldens" / "textformat"
CASES = sorted(FOLDER.glob("*.out.prototxt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name.partition(".")[0])
def test_as_caffe_prints_it(path: Path) -> None:
    assert canonical(test_textformat.read(path.name.removesuffix(".out.prototxt"))) == path.read_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1e6, "1e+06"),
        (123456.0, "123456"),
        (1234567.0, "1234567"),
        (1 / 3, "0.333333343"),
        (1e-5, "1e-05"),
        (0.00390625, "0.00390625"),
        (16777216.0, "16777216"),
        (3.4028234663852886e38, "3.40282347e+38"),
        (1e-45, "1.40129846e-45"),
        (0.0, "0"),
        (-0.0, "-0"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
    ],
)
def test_floats(value: float, text: str) -> None:
    """Six digits where they give the same float of 32 bits back, else nine (printf's %g)."""
    assert canonical(proto.ReLUParameter(negative_slope=value)) == f"negative_slope: {text}\n"


def test_doubles() -> None:
    blob = proto.BlobProto(double_data=[0.1, 1 / 3, 1e22])
    assert canonical(blob) == "double_data: 0.1\ndouble_data: 0.33333333333333331\ndouble_data: 1e+22\n"


def test_strings() -> None:
    assert quoted("plain") == '"plain"'
    assert quoted("a\"b'c\\d\n\r\t\x01\x7f") == r'''"a\"b\'c\\d\n\r\t\001\177"'''
    assert quoted("é") == r'"\303\251"'
    assert quoted(b"\xff\x00") == r'"\377\000"'


def test_blocks_enums_and_bools() -> None:
    net = proto.NetParameter(force_backward=True)
    pool = net.layer.add(name="p").pooling_param
    pool.pool = 1
    net.layer.add().input_param.SetInParent()
    assert canonical(net) == (
        'force_backward: true\nlayer {\n  name: "p"\n  pooling_param {\n    pool: AVE\n  }\n}\n'
        "layer {\n  input_param {\n  }\n}\n"
    )


def test_a_sample_of_the_zoo(shared: Path) -> None:
    for row in list(test_zoo.manifest(shared))[::61]:
        if row["accepted_by_caffe"] == "ok":
            expected = gzip.decompress((shared / f"zoo/canonical/{row['sha256'][:16]}.txt.gz").read_bytes())
            assert canonical(test_zoo.read(shared, row)).encode() == expected, row["file"]


def test_what_is_printed_is_read_back() -> None:
    text = canonical(proto.NetParameter(name="\x00é\"'\\", input=["a"]))
    source = Source(text)
    assert canonical(bind(parse(source), proto.NetParameter, source)) == text


def test_fields_that_the_schema_does_not_have() -> None:
    """By their numbers and kinds, bytes that parse as a message as one (text_format.cc: PrintUnknownFields)."""
    tag = {"varint": 0, "fixed64": 1, "bytes": 2, "fixed32": 5}

    def field(number: int, kind: str, data: bytes) -> bytes:
        return varint(number << 3 | tag[kind]) + data

    layer = proto.LayerParameter(name="a").SerializeToString()
    layer += field(2000, "varint", b"\x05") + field(2001, "fixed32", b"\x00\x00\x80\x3f")
    layer += field(2002, "bytes", b"\x02\x08\x07") + field(2003, "bytes", b"\x02no") + field(2004, "bytes", b"\x00")
    layer += field(2005, "fixed64", bytes(7) + b"\x3f")
    assert canonical(proto.LayerParameter.FromString(layer)) == (
        'name: "a"\n2000: 5\n2001: 0x3f800000\n2002 {\n  1: 7\n}\n2003: "no"\n2004: ""\n2005: 0x3f00000000000000\n'
    )
