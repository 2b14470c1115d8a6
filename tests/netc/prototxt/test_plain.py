"""PLAIN, the grammar's short cut, changes nothing: without it the rules alone give the same tree, or refuse as well."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lark import Lark, UnexpectedInput

from netc.prototxt import Message
from netc.prototxt.grammar import _Build, parser

ROOT = Path(__file__).resolve().parents[3]


def rules_alone() -> Lark:
    grammar = resources.files("netc.prototxt").joinpath("prototxt.lark").read_text("utf-8")
    grammar = grammar.replace("(PLAIN _sep? | _field _sep?)*", "(_field _sep?)*")
    assert "PLAIN _sep" not in grammar
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=_Build())


RULES = rules_alone()


def tree(lark: Lark, text: str) -> Message | None:
    try:
        return lark.parse(text)  # type: ignore[return-value]
    except UnexpectedInput:
        return None


def check(text: str) -> bool:
    expected = tree(RULES, text)
    assert tree(parser(), text) == expected, text
    return expected is not None


@pytest.mark.parametrize("pattern", ["models/**/*.prototxt", "tests/goldens/**/*.prototxt"])
def test_files(pattern: str) -> None:
    assert sum(check(path.read_text(errors="surrogateescape")) for path in sorted(ROOT.glob(pattern))) >= 30


@pytest.mark.slow
def test_zoo(shared: Path) -> None:
    paths = sorted((shared / "zoo/prototxt").iterdir())
    assert sum(check(path.read_text(errors="surrogateescape")) for path in paths) > 1400


WORDS = st.sampled_from(
    [
        "a: ",
        "b:",
        " c ",
        "block { ",
        "block: {",
        "{",
        "}",
        "}\n",
        "<",
        ">",
        "[",
        "]",
        ", ",
        ";",
        "-",
        "1",
        "-2 ",
        "0x1F ",
    ]
    + ["08 ", "1.5e3f ", ".5 ", "1.", "1e5 ", "x ", '"s"', "'t' ", '"#}" ', '"\\n"', '"', "# c }\n", "#\n", "\n", "\t"]
    + ["a: 1 ", 'a: "s" ', "e: MAX\n", "p { q: 1 } ", "p { q { r: 1 } } # ", "p { q { r { s: 1 } } }\n", "é"]
)


@settings(max_examples=1500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WORDS, max_size=25).map("".join))
def test_words_in_any_order(text: str) -> None:
    check(text)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.text(alphabet="a1:{}<>\"'#\n ,;[]-.e\\", max_size=40))
def test_characters_in_any_order(text: str) -> None:
    check(text)
