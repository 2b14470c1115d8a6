"""`netc explain`: one code, a section, all sections; what is near a code that does not exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc.check.explanations import titles
from netc.cli._main import run


@pytest.fixture
def explain(capsys):
    def explained(*args):
        status = run(["explain", *args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return explained


@pytest.mark.parametrize("word", ["G402", "g402", "error[G402]", "warning [g402]:"])
def test_a_code_with_its_example_and_message(explain, word):
    status, out, _ = explain(word)
    assert status == 0
    assert out.startswith("G402: a bottom that no layer above produces\n\n")
    assert '    layer { name: "relu" type: "ReLU" bottom: "dat" top: "relu" }\n' in out
    assert '    net.prototxt:2:43: error[G402]: layer "relu"' in out


def test_a_code_without_an_example(explain):
    status, out, _ = explain("R630")
    assert status == 0
    assert "gives:" not in out


def test_the_example_of_a_solver_names_both_files(explain):
    _, out, _ = explain("A871")
    assert "\nnet.prototxt:\n" in out
    assert "\nsolver.prototxt:\n" in out
    assert 'did you mean "fc"?' in out


def test_sections(explain):
    _, out, _ = explain()
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")] == list("PSUGLDRWFOXCA")
    _, out, _ = explain("s")
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert listed == sorted(code for code in titles() if code.startswith("S"))


@pytest.mark.parametrize(
    "word, near",
    [("S299", "S223"), ("201", "S201"), ("S2O1", "S201"), ("Z402", "G402"), ("S20", "S201"), ("a8", "A801")],
)
def test_a_typo_names_what_is_near(explain, word, near):
    status, out, err = explain(word)
    assert (status, out) == (2, "")
    assert "error[C151]" in err
    assert near in err


@pytest.mark.parametrize("word", ["", "²³", "S" + "9" * 9000, "\x1b[31m"])
def test_anything_else_is_refused_quietly(explain, word):
    status, _, err = explain(word)
    assert status == 2
    assert "error[C151]" in err
    assert "\x1b" not in err


def test_json(explain):
    found = json.loads(explain("P106", "--json")[1])
    assert set(found) == {"code", "title", "text", "example", "message"}
    assert found["message"].startswith("net.prototxt:2:1: error[P106]")
    assert set(json.loads(explain("--json")[1])) == set("PSUGLDRWFOXCA")
    assert json.loads(explain("C", "--json")[1])["C151"] == titles()["C151"]


# -- the reference -----------------------------------------------------------------------------------------------------


def test_every_key_of_json_is_in_the_reference(tmp_path, capsys):
    """docs/look.md names every key that `check` and `diff` print."""
    text = (Path(__file__).resolve().parents[2] / "docs/look.md").read_text()
    for args in (["check", "mini_vgg_A", "--json"], ["diff", "vgg_A", "vgg_A_LRN", "--json"]):
        run(args)
        found = json.loads(capsys.readouterr().out)
        assert sorted(key for key in keys(found) if f"`{key}" not in text) == []


def keys(found):
    """Every key, those of tables by blob left out."""
    if isinstance(found, list):
        return {key for one in found for key in keys(one)}
    if not isinstance(found, dict):
        return set()
    inner = {key for name, one in found.items() if name not in ("tops", "outputs") for key in keys(one)}
    return set(found) | inner
