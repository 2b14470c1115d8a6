"""Fixtures for every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The tests' tensors are tiny: a second thread only waits for the first, and for the machine's other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with Caffe's measurements and other people's nets; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("NETC_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here (set NETC_SHARED)")
    return folder


LONG = ("tests/test_readme.py", "tests/docs/", "tests/cli/")
"""What takes longest begins first, so that no worker is left alone with it at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((i for i, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG)))
