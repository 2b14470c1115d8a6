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
from netc.graph.read import draft_net
from netc.prototxt import Source, parse
from netc.prototxt.bind import bind
from netc.prototxt.format import canonical

FOLDER = Path(__file__).parents[2] / "goldens" / "textformat"
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


def relu(number: str) -> str:
    return f"layer {{ relu_param {{ negative_slope: {number} }} }}"


ANSWERS: dict[str, str | None] = {
    # a leading 0 makes octal, and octal is not a fraction
    relu("00.5"): None,
    relu("01.5"): None,
    relu("08.5"): None,
    relu("09e1"): None,
    relu("017."): None,
    relu("0.5"): "layer {\n  relu_param {\n    negative_slope: 0.5\n  }\n}\n",
    relu("0e1"): "layer {\n  relu_param {\n    negative_slope: 0\n  }\n}\n",
    # half a unit above the largest float still becomes it
    relu(
        "3.40282356779733661637539395458142568447e38"
    ): "layer {\n  relu_param {\n    negative_slope: 3.40282347e+38\n  }\n}\n",
    relu("3.4028235677973370e38"): "layer {\n  relu_param {\n    negative_slope: inf\n  }\n}\n",
    f"input_dim: 0x{'0' * 60}1": "input_dim: 1\n",
    f"force_backward: 0x{'0' * 60}1": "force_backward: true\n",
    # escapes
    r'name: "\X41"': None,
    r'name: "\U00110000"': 'name: "\\\\U00110000"\n',
    r'name: "\U00200000"': None,
    r'name: "\U0010ffff"': 'name: "\\364\\217\\277\\277"\n',
    r'name: "\ud83d\ude00"': 'name: "\\360\\237\\230\\200"\n',
    # only a list of blocks goes without its colon
    'input ["a"]': None,
    "input_dim []": None,
    "layer { loss_weight [1] }": None,
    "layer []": "",
    "input_dim: []": "",
    # control characters: anywhere in strings and comments, but NUL nowhere
    'name: "\x01"': 'name: "\\001"\n',
    '# \x01\nname: "x"': 'name: "x"\n',
    'name: "x" \x01': None,
    '# \0\nname: "x"': None,
    'name: "\0"': None,
}
"""Text → the print of C++ protobuf 3.21.12, the version behind the goldens; None: refused."""


@pytest.mark.parametrize("text", ANSWERS)
def test_corners_that_no_golden_has(text: str) -> None:
    source, expected = Source(text), ANSWERS[text]
    if expected is not None:
        assert canonical(bind(parse(source), proto.NetParameter, source)) == expected
        return
    with pytest.raises(NetcError) as caught:
        bind(parse(source), proto.NetParameter, source)
    assert caught.value.line


def test_nul_is_named() -> None:
    for text in ('name: "a\0b"', "name: 'x' # a\0b"):
        with pytest.raises(NetcError) as caught:
            parse(Source("\n" * 400 + text))
        assert caught.value.column == text.index("\0") + 1
