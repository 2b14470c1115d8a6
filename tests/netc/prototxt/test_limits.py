"""Hostile and merely odd files: an answer without much work and in 500 MB, whatever the text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netc.errors import NetcError
from netc.prototxt.parse import parse
from netc.prototxt.source import Source

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

EXPECTED = {
    "deep": "P102", "deep and closed": "P102", "deep angles": "P102", "closing only": "P101",
    "a million layers": "P103", "empty layers": "G410", "layers in place": "accepted",
    "layers on one blob": "accepted", "a chain from nowhere": "G402", "one producer again and again": "G403",
    "unknown fields on one line": "S201",
    "a million bottoms": "P103", "unknown bottoms": "G402", "distinct tops": "accepted",
    "a million dims": "P104", "many dims": "L301", "param blocks": "G407", "rules": "accepted",
    "unclosed strings": "P101", "escapes": "accepted", "bad escapes": "S207",
    "comments": "accepted", "separators": "P101", "a long name": "P101", "a long field": "S201",
    "blank lines": "S201", "minus signs": "P101", "a long whole number": "S203", "5000 digits": "S203",
    "5000 zeros": "accepted", "a long fraction": "G410", "beyond float": "G410", "a long exponent": "G410",
    "errors in every block": "P101", "NUL": "P105", "NULs further down": "P101", "byte order mark": "P101",
    "carriage returns": "accepted", "UTF-16": "P105", "not UTF-8": "S207", "bytes that are not text": "P105",
    "100 MB": "P103", "a sparse gigabyte": "P103",
}  # fmt: skip


def test_answers_without_much_work_and_memory() -> None:
    """All cases in one test: a second worker would compile them all again."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "hostile.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert {case: result["code"] for case, result in results.items()} == EXPECTED
    assert {case: result for case, result in results.items() if result["seconds"] >= 200 * result["unit"]} == {}
    assert {case: result for case, result in results.items() if result["megabytes"] >= 500} == {}


@pytest.mark.parametrize(
    "text",
    [
        '# a net\rname: "x"\rlayer { name: "a" type: "Input" top: "a" }\r',
        'name: "x"\r# a comment\r\r  layer {\r',
        'name: "x" # first\r\n# second\rlayer { }\n',
        'name: "#\'" # "\rlayer { }',
    ],
)
def test_a_comment_that_takes_lines_in_is_refused(text: str) -> None:
    """A carriage return does not end it, in Caffe either: the rest of the file would silently not count."""
    with pytest.raises(NetcError) as caught:
        parse(Source(text, "mac.prototxt"))
    assert caught.value.code == "P107"
    assert "tr '\\r' '\\n'" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        '# a net\r\nname: "x"\r\n# the end\r',
        'name:\r"x"\r',
        "name: 'x' #\r\r\n",
        'name: "#\\r" ',
        "# a\r \t\r\n\rname: 'x'",
    ],
)
def test_carriage_returns_that_do_no_harm(text: str) -> None:
    assert [field.name for field in parse(Source(text, "dos.prototxt")).fields] == ["name"]
