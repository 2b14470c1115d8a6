"""What is left of the emitters by type: losses and the types of forks, until their classes have an `emit`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from netc.graph.ir import Node
from netc.layers.base import Layer, Shape
from netc.layers.code import Code


@dataclass(frozen=True, slots=True)
class Site:
    """A layer, and the names that it has in the emitted code."""

    node: Node
    bottoms: tuple[str, ...]
    module: str = ""

    @property
    def x(self) -> str:
        return self.bottoms[0]

    @property
    def layer(self) -> Any:
        return self.node.layer

    @property
    def options(self) -> Any:
        return self.node.layer.options

    @property
    def shape(self) -> Shape:
        return self.node.bottom_shapes[0]

    def call(self, *arguments: str) -> str:
        return f"{self.module}({', '.join(arguments or self.bottoms)})"

    def fail(self, message: str, field: str = "", hint: str | None = None) -> NoReturn:
        self.layer.no_module(message, field, hint)
        raise AssertionError


Emitter = Callable[[Site], Code]

_BOXES = "boxes are sorted out from the net's outputs by netc's own code"
_MINING = "it chooses examples while training, by netc's own code"

WITHOUT = {
    "Proposal": _BOXES,
    "DetectionOutput": _BOXES,
    "DetectionEvaluate": _BOXES,
    "YoloDetectionOutput": _BOXES,
    "Yolov3DetectionOutput": _BOXES,
    "MultiBoxLoss": _MINING,
    "BoxAnnotatorOHEM": _MINING,
    "SmoothL1LossOHEM": _MINING,
    "SoftmaxWithLossOHEM": _MINING,
    "PSROIPooling": "position-sensitive pooling of regions is netc's own code",
}

EMITTERS: dict[str, Emitter] = {}


def emits(*types: str, joint: bool = False) -> Callable[[Emitter], Emitter]:
    def register(emitter: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(types, emitter))
        return emitter

    return register


@cache
def emitters() -> dict[str, Emitter]:
    from netc.look.emit import types

    for module in pkgutil.iter_modules(types.__path__):
        importlib.import_module(f"{types.__name__}.{module.name}")
    return EMITTERS


def old_code(node: Node, bottoms: tuple[str, ...], module: str) -> Code | None:
    """What a node whose class has no `emit` becomes."""
    cls = type(node.layer)
    if cls.emit is Layer.emit and node.type in emitters():
        return emitters()[node.type](Site(node, bottoms, module))
    if node.type in WITHOUT:
        cls.no_code = WITHOUT[node.type]
    return None
