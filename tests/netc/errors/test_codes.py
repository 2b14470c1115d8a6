"""The error codes: all explained, all in use, each about one thing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from netc.check.explanations import FOLDER, titles

ROOT = Path(__file__).resolve().parents[3]


def is_code(text: object) -> bool:
    return isinstance(text, str) and len(text) == 4 and text[0] in "PSUGLDRWFOXCA" and text[1:].isdigit()


def used() -> set[str]:
    """Every code in the sources, wherever it stands as a string of its own."""
    files = [path for folder in ("netc", "proto", "runtime") for path in (ROOT / folder).rglob("*.py")]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text())))
    return {str(node.value) for node in nodes if isinstance(node, ast.Constant) and is_code(node.value)}


def test_every_code_used_is_explained() -> None:
    assert sorted(used() - set(titles())) == []


def test_every_code_explained_is_used() -> None:
    assert sorted(set(titles()) - used()) == []


def test_the_headings_read_well() -> None:
    assert [code for code in titles() if not is_code(code)] == []
    assert [title for title in titles().values() if not title or len(title) > 100 or title.endswith(".")] == []
    headings = [heading for path in FOLDER.glob("?.md") for heading in re.findall(r"^## (.*)$", path.read_text(), re.M)]
    assert len(headings) == len(titles()), "a code stands twice"
