"""Of the nets that only a fork of Caffe accepts, netc reads and builds at least as many as docs/forks.md says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOOR = {
    "intel+caffe": (217, 121, 205),
    "eric612+MobileNet-YOLO": (54, 51, 51),
    "NVIDIA+caffe": (69, 57, 57),
    "weiliu89+caffe@ssd": (38, 33, 33),
    "alexgkendall+caffe-segnet": (21, 19, 19),
    "hszhao+PSPNet": (7, 7, 7),
    "happynear+caffe-windows": (7, 7, 7),
    "yjxiong+caffe": (4, 4, 4),
}
"""Fork → nets read, built, built but for Python layers."""


@pytest.fixture
def fork_table(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import fork_table

    yield fork_table
    sys.modules.pop("fork_table")


@pytest.mark.slow
def test_the_share_that_is_read_and_built(shared: Path, fork_table: Any) -> None:
    forks = fork_table.measure(shared)
    found = {name: (forks[name].read, forks[name].built, forks[name].built + forks[name].python) for name in FLOOR}
    assert all(a >= b for name in FLOOR for a, b in zip(found[name], FLOOR[name], strict=True)), found
    page = fork_table.PAGE.read_text(encoding="utf-8")
    assert page == fork_table.with_table(page, "\n".join(fork_table.rows(forks))), "run python tools/fork_table.py"


def test_a_table(fork_table: Any) -> None:
    fork = fork_table.Fork(nets=4, read=3, built=1, python=1, failures=fork_table.Counter({"a|b": 2}))
    text = "\n".join(fork_table.rows({"weiliu89+caffe@ssd": fork}))
    assert "| SSD (weiliu89/caffe, ssd) | 4 | 3 (75%) | 1 (25%) | 2 (50%) | 2 × a\\|b |" in text
    page = f"head\n{fork_table.BEGIN}old\n{fork_table.END}tail\n"
    assert fork_table.with_table(page, "new") == f"head\n{fork_table.BEGIN}new\n{fork_table.END}tail\n"
