"""Every code is explained, and each example gives the code that it is for."""

from __future__ import annotations

import pytest

from netc.check.explanations import explain, section, sections, titles
from netc.check.explanations.provoke import provoke

ALL = [one for letter in sections() for one in section(letter).codes.values()]
EXAMPLES = [one for one in ALL if one.files]


@pytest.mark.parametrize("letter", sections())
def test_sections_are_whole(letter: str) -> None:
    one = section(letter)
    assert one.title
    assert all(code.startswith(letter) for code in one.codes)
    assert [code for code, found in one.codes.items() if len(found.text) < 60] == []


def test_text_has_no_example_left_in_it() -> None:
    assert [one.code for one in ALL if "```" in one.text] == []


@pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: one.code)
def test_an_example_gives_its_code(one) -> None:  # type: ignore[no-untyped-def]
    message = provoke(one)
    assert message is not None
    assert f"[{one.code}]" in message
    assert "netc-explain" not in message


def test_most_of_what_a_check_can_say_has_an_example() -> None:
    shown = {one.code for one in EXAMPLES}
    wanted = [code for code in titles() if code[0] in "SGA" or code in ("P101", "P105", "P106", "L301", "L302", "L320")]
    of_data_or_arguments = {"S209", "A812", "A813", "A814", "A815", "A818", "A881", "A882"}
    assert sorted(set(wanted) - shown - of_data_or_arguments) == []


def test_explain_finds_one() -> None:
    assert explain("S201").code == "S201"
    with pytest.raises(KeyError):
        explain("S999")
