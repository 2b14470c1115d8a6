"""All layer types, one file each. Importing this package registers them."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from netc.layers.base import REGISTRY, Layer


@cache
def registry() -> dict[str, type[Layer]]:
    """Type name → layer class, from every file of this folder; those named _… need torch, `forward` imports them."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}")
    return REGISTRY


__all__ = ["Layer", "registry"]
