"""The canonical form of a text (`netc fmt`): the rules one by one, and on texts at random nothing lost or changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc import NetcError
from netc.prototxt import Source, parse
from netc.prototxt.layout import layout
from netc.prototxt.rewrite import formatted, meaning
from netc.prototxt.tidy import WIDTH

ROOT = Path(__file__).resolve().parents[3]

RULES = {
    "a field a line, a colon and a blank": ('name:"x"   input :"a"', 'name: "x"\ninput: "a"\n'),
    "blocks have no colon and no angle brackets": (
        'layer:<\nname:"a"\nparam:{lr_mult:1}>',
        'layer {\n  name: "a"\n  param { lr_mult: 1 }\n}\n',
    ),
    "a block on one line stays there": ('layer{name:"a" type:"b"}', 'layer { name: "a" type: "b" }\n'),
    "a block on several lines has a field a line": (
        'layer { name: "a" type: "b"\n}',
        'layer {\n  name: "a"\n  type: "b"\n}\n',
    ),
    "an empty block": ("layer {\n\n}\nlayer { }", "layer {}\nlayer {}\n"),
    "separators go": ('name: "x"; input: "a", input: "b"', 'name: "x"\ninput: "a"\ninput: "b"\n'),
    "single quotes become double ones where that is all": (
        "name: 'x' input: 'a\"b' input: 'a\\'b' input: \"it's\"",
        "name: \"x\"\ninput: 'a\"b'\ninput: 'a\\'b'\ninput: \"it's\"\n",
    ),
    "numbers stay as they are written": (
        "input_dim: 0x10 input_dim: - 1 input_dim: 010 base_lr: 1e-4",
        "input_dim: 0x10\ninput_dim: -1\ninput_dim: 010\nbase_lr: 1e-4\n",
    ),
    "lists": ("input_dim: [ 1,2 , 3]\ninput_dim:[]", "input_dim: [1, 2, 3]\ninput_dim: []\n"),
    "a list on several lines": ("input_dim: [1,\n2]", "input_dim: [\n  1,\n  2\n]\n"),
    "a list of blocks": (
        "layer: [{name: 'a'}, {\nname: 'b'}]",
        'layer: [\n  { name: "a" },\n  {\n    name: "b"\n  }\n]\n',
    ),
    "adjacent strings": ("name: 'a' \"b\"\ninput: \"c\"\n'd'", 'name: "a" "b"\ninput: "c"\n    "d"\n'),
    "one blank line of several, none at the ends": (
        "\n\nname: 'x'\n\n\n\nlayer {\n\n  name: 'a'\n\n}\n\n\n",
        'name: "x"\n\nlayer {\n  name: "a"\n}\n',
    ),
    "CRLF and tabs": ("layer {\r\n\tname: 'a'\t# c\r\n}\r\n", 'layer {\n  name: "a"  # c\n}\n'),
    "nothing but comments": ("\n# a\n\n\n  # b\n\n", "# a\n\n# b\n"),
    "nothing": ("\n\n", ""),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    text, expected = RULES[rule]
    assert formatted(Source(text)) == expected
    assert formatted(Source(expected)) == expected


COMMENTS = """\
# file

name: "x" # the name
  # before the layer
layer # head
{ # open
  # first
  name: "a" type: "b" # both


  # apart

  bottom: # odd
     "c"
  top: "d" # one
    # two
    "e" # three
  input_dim: [ # list
    1, # i
    # below i
    2 # ii
    # end of list
  ] # after list
  # last
} # close
input: "a" # before
, # comma
input: "b"
# end"""

TIDIED = """\
# file

name: "x"  # the name
# before the layer
# head
layer {  # open
  # first
  name: "a"
  type: "b"  # both

  # apart

  bottom: "c"  # odd
  top: "d"  # one
      # two
      "e"  # three
  input_dim: [  # list
    1,  # i
    # below i
    2  # ii
    # end of list
  ]  # after list
  # last
}  # close
input: "a"  # before
# comma
input: "b"
# end
"""


def test_comments_stay_where_they_belong() -> None:
    found = formatted(Source(COMMENTS))
    assert found == TIDIED
    assert formatted(Source(found)) == found


def test_a_block_that_does_not_fit() -> None:
    inner = 'weight_filler { type: "gaussian" std: 0.01 }'
    long = f'layer {{ name: "a" type: "Convolution" convolution_param {{ num_output: 4 kernel_size: 3 {inner} }} }}'
    assert len(long) > WIDTH
    assert formatted(Source(long)) == (
        'layer {\n  name: "a"\n  type: "Convolution"\n'
        f"  convolution_param {{ num_output: 4 kernel_size: 3 {inner} }}\n}}\n"
    )
    exact = 'layer { name: "' + "x" * (WIDTH - 18) + '" }'
    assert formatted(Source(exact)) == exact + "\n"
    assert formatted(Source(exact.replace("x", "xx", 1))).count("\n") == 3
    assert formatted(Source(exact + "   # a comment does not count")) == exact + "  # a comment does not count\n"


def test_bytes_that_are_no_utf8_stay() -> None:
    text = b'name: "x"  # caf\xe9\n'.decode("utf-8", "surrogateescape")
    assert formatted(Source(text)) == text


def test_a_text_that_does_not_parse_is_refused() -> None:
    with pytest.raises(NetcError) as caught:
        formatted(Source("layer {\n  name: \n}"))
    assert caught.value.code == "P101"


def test_unknown_fields_are_no_obstacle() -> None:
    """A fork's net is formatted too: that is a matter of syntax."""
    assert formatted(Source("layer{ fork_param{x:1} }")) == "layer { fork_param { x: 1 } }\n"


def holds(text: str) -> None:
    """What must hold of any text that parses."""
    source = Source(text)
    found = formatted(source)
    again = Source(found)
    assert formatted(again) == found, "formatting twice changes nothing"
    assert meaning(parse(again)) == meaning(parse(source))
    assert Counter(layout(again).comments()) == Counter(layout(source).comments())
    assert "\n\n\n" not in found
    assert all(line == line.rstrip() for line in found.split("\n"))


def test_the_shipped_nets() -> None:
    for path in sorted(ROOT.glob("models/*/*.prototxt"))[::7]:
        holds(path.read_text())


def test_a_sample_of_the_zoo(shared: Path) -> None:
    for path in sorted((shared / "zoo/prototxt").glob("*.prototxt"))[::401]:
        source = Source.read(path)
        try:
            parse(source)
        except NetcError:
            continue
        holds(source.text)


BLANKS = st.sampled_from(["", " ", "\n", "\n\n", "\t", " \r\n", "  # c\n", "\n# a # b\n", "\n\n\n #\n"])
SCALARS = st.sampled_from(
    ["1", "-1", "- 2", "0x1F", "1.5e3f", "true", "MAX", '"a"', "'b'", "'it\"s'", '"#"', "'#'", '"a" "b"', '"a"\n"b"']
    + ["'a' # c\n 'b'", '"\\""', "'\\''", '""', "-inf"]
)


@st.composite
def fields(draw: st.DrawFn, depth: int = 0) -> str:
    """A text that parses, with odd blanks and comments wherever they may stand."""
    parts = [draw(BLANKS)]
    for _ in range(draw(st.integers(0, 4))):
        parts.append(draw(field(depth)) + draw(BLANKS) + draw(st.sampled_from([" ", "\n", ";", ","])) + draw(BLANKS))
    return "".join(parts)


@st.composite
def field(draw: st.DrawFn, depth: int) -> str:
    name, gap = draw(st.sampled_from(["layer", "name", "x"])), draw(BLANKS)
    kind = draw(st.sampled_from(["scalar"] * 3 + ["list"] + ["block"] * (3 if depth < 3 else 0)))
    if kind == "scalar":
        return f"{name}{gap}:{draw(BLANKS)}{draw(SCALARS)}"
    if kind == "list":
        items = draw(st.lists(SCALARS, max_size=4))
        return f"{name}:{gap}[{draw(BLANKS)}{','.join(draw(BLANKS) + item + draw(BLANKS) for item in items)}]"
    colon, (left, right) = draw(st.sampled_from(["", ":"])), draw(st.sampled_from(["{}", "<>"]))
    return f"{name}{gap}{colon}{draw(BLANKS)}{left}{draw(fields(depth + 1))}{right}"


@given(fields())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_texts_at_random(text: str) -> None:
    holds(text)
