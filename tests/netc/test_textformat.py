"""Protobuf's C++ text format, case by case: what Caffe's parser accepts, what it refuses, and what it understood.

The cases are Caffe's own answers: `NAME.in.prototxt` is the input; `NAME.out.prototxt`, Caffe's canonical print of what
it read, exists for the inputs it accepts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from netc import NetcError, proto
from netc.bind import bind
from netc.compile import draft_net
from netc.prototxt import Source, parse

FOLDER = Path(__file__).parents[1] / "goldens" / "textformat"
CASES = sorted(path.name.removesuffix(".in.prototxt") for path in FOLDER.glob("*.in.prototxt"))
UPGRADED = {"dup_in_repeated_ok"}
"""The prints of these were made after Caffe's upgrade of old fields."""


def read(name: str) -> Any:
    source = Source.read(FOLDER / f"{name}.in.prototxt")
    return draft_net(source).param if name in UPGRADED else bind(parse(source), proto.NetParameter, source)


def test_every_case_is_here() -> None:
    assert len(CASES) == 86


@pytest.mark.parametrize("name", CASES)
def test_as_caffe_reads_it(name: str) -> None:
    printed = FOLDER / f"{name}.out.prototxt"
    if not printed.exists():
        with pytest.raises(NetcError):
            read(name)
        return
    expected = text_format.Parse(printed.read_text(), proto.NetParameter())
    assert read(name).SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def test_nan_and_infinity_keep_their_sign() -> None:
    """Equal bytes above show this too where the print keeps the sign; `-nan` is printed as `nan`."""
    source = Source("layer { relu_param { negative_slope: -inf } } layer { relu_param { negative_slope: -nan } }")
    first, second = bind(parse(source), proto.NetParameter, source).layer
    assert first.relu_param.negative_slope == float("-inf")
    assert second.relu_param.negative_slope != second.relu_param.negative_slope


def test_a_comment_between_adjacent_strings() -> None:
    source = Source('name: "a"  # first half\n  "b" layer { }')
    assert bind(parse(source), proto.NetParameter, source).name == "ab"


def test_odd_forms_of_one_pair() -> None:
    """Each form reaches the message by another way through the grammar."""
    forms = (
        "axis:2",
        "axis : 2",
        "axis:\n2",
        "axis: # c\n2",
        "axis: 0x2",
        "axis: 02",
        "axis: 2;",
        "axis: 0x2,",
        "axis: 2 # c",
    )
    for text in forms:
        source = Source(f"layer {{ concat_param {{ {text}\n }} }}")
        assert bind(parse(source), proto.NetParameter, source).layer[0].concat_param.axis == 2, text


def test_places_of_every_kind_of_field() -> None:
    text = 'layer { name: "a" bottom: ["b",\n "c"] param { lr_mult: - 1 } concat_param: <\n axis :  2 > }'
    source = Source(text)
    draft = draft_net(source)
    places = {
        path: draft.origins[0].place(path) for path in ("name", "bottom[1]", "param[0].lr_mult", "concat_param.axis")
    }
    found = {path: (place.line, place.column) for path, place in places.items()}
    assert found == {"name": (1, 15), "bottom[1]": (2, 2), "param[0].lr_mult": (2, 24), "concat_param.axis": (3, 10)}
