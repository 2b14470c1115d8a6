"""Layers that torch cannot trace, as one operator each, which ONNX gets in its own form (`Layer.operators`)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from netc.layers.base import Layer
from netc.runtime.net.module import Net

_LAYERS: ContextVar[dict[str, Layer]] = ContextVar("layers of the net that is traced")


def _run(key: str, a: Tensor, b: Tensor, c: Tensor | None) -> list[Tensor]:
    raise NotImplementedError("this operator is traced, never run")


_operator = torch.library.custom_op("netc::layer", _run, mutates_args=())


@_operator.register_fake
def _traced(key: str, a: Tensor, b: Tensor, c: Tensor | None) -> list[Tensor]:
    layer, context = _LAYERS.get()[key], torch.library.get_ctx()
    shapes = [tuple(x.shape) for x in (a, b, c) if x is not None]
    return [a.new_empty(shape) for shape in layer.traced_shapes(shapes, lambda: context.new_dynamic_size())]


@contextmanager
def opaque(net: Net) -> Iterator[None]:
    """Have the net call the operator in place of such layers, and the operator know them."""
    steps = [step for step in net._steps if step.node.layer.has_operators]
    for step in steps:
        step.node = replace(step.node, layer=_stand_in(step.node.layer))
    token = _LAYERS.set({step.node.layer.key: step.node.layer for step in steps})
    try:
        yield
    finally:
        _LAYERS.reset(token)


def _stand_in(layer: Layer) -> Layer:
    twin = copy.copy(layer)

    def forward(run: Any, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        a, b, c = (*bottoms[:3], None)[:3]
        found: list[Tensor] = torch.ops.netc.layer(layer.key, a, b, c)
        return found

    twin.forward = forward  # type: ignore[method-assign]
    return twin


def _translated(key: str, a: Any, b: Any, c: Any = None) -> Any:
    import onnxscript

    bottoms = [x for x in (a, b, c) if x is not None]
    return tuple(_LAYERS.get()[key].operators(onnxscript.opset20, bottoms))


TRANSLATIONS: dict[Any, Any] = {torch.ops.netc.layer.default: _translated}
"""For torch.onnx.export's custom_translation_table."""
