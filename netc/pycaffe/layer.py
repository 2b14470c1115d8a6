"""pycaffe's base class of layers."""

from __future__ import annotations

from typing import Any

from netc.pycaffe.blob import BlobVec


class Layer:
    """What a Python layer is derived from: `param_str`, `phase` and `blobs` are there when `setup` is called.
    `param_str_` is the name that param_str had until the end of 2015, which py-faster-rcnn's layers read.

    `caffe.Net` lists its layers as objects of this class too; `type` is the name of the type in the prototxt.
    """

    type: str = ""
    param_str: str = ""
    param_str_: str = ""
    phase: int = 1
    blobs: BlobVec

    def __init__(self, param: Any = None) -> None:
        """Caffe hands over its LayerParameter; layers rarely look at it."""
