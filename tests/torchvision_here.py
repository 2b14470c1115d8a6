"""torchvision, whose C++ operators do not load beside every torch: what is used here needs none of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest


def models() -> ModuleType:
    """torchvision.models; the test is skipped where torchvision is not installed."""
    return _imported("torchvision.models")


def boxes() -> ModuleType:
    """torchvision.ops.boxes, likewise; what is written in Python there works."""
    return _imported("torchvision.ops.boxes")


def _imported(name: str) -> ModuleType:
    pytest.importorskip("torch")
    with mock.patch("torch.library.register_fake", _register_nothing):
        try:
            return importlib.import_module(name)
        except ImportError:
            pytest.skip("torchvision is not installed")


def _register_nothing(*_: Any, **__: Any) -> Callable[[Any], Any]:
    """What its import calls for operators that are not there."""
    return lambda function: function
