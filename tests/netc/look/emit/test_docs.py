"""docs/emit.md shows what the emitter writes today."""

from __future__ import annotations

import re
from pathlib import Path

import netc
from netc.look.emit import emit

PAGE = Path(__file__).resolve().parents[4] / "docs/emit.md"


def test_the_example_is_what_is_emitted(tmp_path: Path) -> None:
    blocks = dict(re.findall(r"```(prototxt|python)\n(.*?)```", PAGE.read_text(), re.S))
    (tmp_path / "example.prototxt").write_text(blocks["prototxt"])
    assert emit(netc.compile_net(tmp_path / "example.prototxt", "TEST"), file="example.py").code == blocks["python"]
