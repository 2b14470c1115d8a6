"""The table of error codes: complete, exact, and each code about one thing."""

from __future__ import annotations

import ast
from pathlib import Path

from netc.errors.codes import CODES

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "netc/errors/codes.py"


def is_code(text: object) -> bool:
    return isinstance(text, str) and len(text) == 4 and text[0] in "PSUGLDRWFOXCA" and text[1:].isdigit()


def used() -> set[str]:
    """Every code in the sources, wherever it stands as a string of its own."""
    files = [path for folder in ("netc", "proto", "runtime") for path in (ROOT / folder).rglob("*.py") if path != TABLE]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text())))
    return {str(node.value) for node in nodes if isinstance(node, ast.Constant) and is_code(node.value)}


def test_every_code_used_is_in_the_table() -> None:
    assert sorted(used() - set(CODES)) == []


def test_every_code_in_the_table_is_used() -> None:
    assert sorted(set(CODES) - used()) == []


def test_the_table_reads_well() -> None:
    assert [code for code in CODES if not is_code(code)] == []
    assert [title for title in CODES.values() if not title or len(title) > 100 or title.endswith(".")] == []
    keys = [node.value for node in ast.walk(ast.parse(TABLE.read_text())) if isinstance(node, ast.Constant)]
    assert len([key for key in keys if is_code(key)]) == len(CODES), "a code stands twice"
