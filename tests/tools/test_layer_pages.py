from __future__ import annotations

from netc.layers import registry
from tools import layer_pages


def test_the_committed_pages_are_current() -> None:
    assert layer_pages.PAGES.read_text(encoding="utf-8") == layer_pages.text(), "run: python -m tools.layer_pages"


def test_each_type_has_its_page_and_each_field_its_row() -> None:
    text = layer_pages.PAGES.read_text(encoding="utf-8")
    assert all(f"\n## {name}\n" in text for name in registry())
    assert "| `kernel_size` | int … |" in text
    assert "| `pool` | PoolMethod | MAX |" in text
