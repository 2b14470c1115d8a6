"""Weights and pictures that other people published, read in ../shared/zoo."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def zoo(shared: Path) -> Path:
    return shared / "zoo"
