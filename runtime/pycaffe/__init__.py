"""pycaffe's classes, which compute: what `netc.pycaffe` gives and torch is needed for.

This package is `caffe.pycaffe` and `caffe._caffe` too, which have all of its names.
"""

from __future__ import annotations

from typing import Any

import netc.pycaffe as _caffe


def __getattr__(name: str) -> Any:
    return getattr(_caffe, name)


def __dir__() -> list[str]:
    return dir(_caffe)
