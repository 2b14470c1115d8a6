"""All layer types, one file each; forks/ has those that only forks of Caffe have."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from netc.layers.base import REGISTRY, Layer


@cache
def registry() -> dict[str, type[Layer]]:
    """Type name → layer class, from every file here and in forks/ but those named _…, which only `forward` imports."""
    for folder in ("netc.layers", "netc.layers.forks"):
        for module in pkgutil.iter_modules(importlib.import_module(folder).__path__):
            if not module.name.startswith("_") and not module.ispkg:
                importlib.import_module(f"{folder}.{module.name}")
    return REGISTRY


__all__ = ["Layer", "registry"]
