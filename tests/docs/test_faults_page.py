"""docs/faults.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_each_row_has_a_test_or_says_why_not() -> None:
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    rows = re.findall(r"^\| (F\d+) .*$", (ROOT / "docs/faults.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [f"F{number}" for number in range(1, 26)]
    for row in (ROOT / "docs/faults.md").read_text(encoding="utf-8").splitlines():
        if re.match(r"\| F\d+ ", row):
            _, _, _, tests, remark, _ = row.split("|")
            names = re.findall(r"`(test_\w+)`", tests)
            assert set(names) <= there, set(names) - there
            assert names or (tests.strip() == "none" and remark.strip()), row
