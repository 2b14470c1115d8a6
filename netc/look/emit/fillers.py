"""How a training net starts: the file's fillers as calls of torch.nn.init, which draw from the same distributions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from netc.errors import NetcError
from netc.graph.ir import Graph, Node, ParamRef
from netc.layers.base import Shape, count
from netc.layers.code import number
from netc.look.emit.text import laid_out

FAN_IN, FAN_OUT, AVERAGE = range(3)
_MODE = {FAN_IN: "", FAN_OUT: 'mode="fan_out", '}
_OWN = {
    ("Scale", "weight"): 1.0,
    ("Scale", "bias"): 0.0,
    ("Bias", "bias"): 0.0,
    ("PReLU", "weight"): 0.25,
    ("Parameter", "weight"): 0.0,
    ("Normalize", "weight"): 1.0,
}
"""(Layer type, blob) → the constant that its module starts with anyhow."""

Calls = tuple[str, ...]


def initial_values(graph: Graph, modules: Mapping[int, str]) -> Iterator[str]:
    """Statements that fill the parameters; layers that start alike share them. `modules`: node index → its submodule's
    expression. Raises NetcError L390 for a filler that has no form outside netc."""
    alike: dict[tuple[str, Calls], list[str]] = {}
    for index, node in enumerate(graph.nodes):
        refs = [ref for position, ref in enumerate(node.params) if ref.owner == (index, position)]
        calls = tuple(call for ref in refs if (call := _call(node, ref)))
        if calls:
            alike.setdefault((node.type, calls), []).append(modules[index])
    for (_, calls), layers in alike.items():
        if len(layers) == 1:
            for call in calls:
                yield from laid_out(call.format(layers[0]), 2)
        else:
            yield from laid_out(f"for layer in ({', '.join(layers)}):", 2)
            for call in calls:
                yield from laid_out(call.format("layer"), 3)


def _call(node: Node, ref: ParamRef) -> str:
    """The statement that fills one parameter, {} standing for its layer; "" where there is nothing to do."""
    filler, shape = ref.blob.filler, ref.blob.shape
    kind = filler.type if filler is not None else "constant"
    value = filler.value if filler is not None else 0.0
    if ref.blob.frozen or (kind == "constant" and _OWN.get((node.type, ref.blob.name)) == value):
        return ""
    return _filling(node, kind, filler, shape).format(f"{{}}.{ref.blob.name}")


def _filling(node: Node, kind: str, filler: Any, shape: Shape) -> str:
    if kind == "constant":
        value = filler.value if filler is not None else 0.0
        plain = {0.0: "zeros_", 1.0: "ones_"}.get(value)
        return f"nn.init.{plain}({{}})" if plain else f"nn.init.constant_({{}}, {number(value)})"
    if kind == "uniform":
        return f"nn.init.uniform_({{}}, {number(filler.min)}, {number(filler.max)})"
    if kind == "gaussian":
        mean = f"mean={number(filler.mean)}, " if filler.mean else ""
        if filler.sparse >= 0:
            return f"sparse_normal_({{}}, {mean}std={number(filler.std)}, kept={filler.sparse})"
        return f"nn.init.normal_({{}}, {mean}std={number(filler.std)})"
    if kind in ("xavier", "msra"):
        return _scaled(kind, filler.variance_norm, shape)
    if kind == "positive_unitball":
        return "positive_unitball_({})"
    if kind == "bilinear":
        return "bilinear_({})"
    message = f'layer "{node.name}" cannot be written as a module of its own: its filler is "{kind}"'
    raise NetcError("L390", message, node.place, "write the net for the TEST phase, and load weights")


def _scaled(kind: str, norm: int, shape: Shape) -> str:
    """By the number of inputs, outputs, or their mean: torch's own where it has the same, else the numbers."""
    if len(shape) > 1 and kind == "xavier" and norm == AVERAGE:
        return "nn.init.xavier_uniform_({})"
    if len(shape) > 1 and norm in _MODE:
        call, gain = ("kaiming_uniform_", "linear") if kind == "xavier" else ("kaiming_normal_", "relu")
        return f'nn.init.{call}({{}}, {_MODE[norm]}nonlinearity="{gain}")'
    if kind == "xavier":
        bound = number(math.sqrt(3 / fan(norm, shape)))
        return f"nn.init.uniform_({{}}, -{bound}, {bound})"
    return f"nn.init.normal_({{}}, std={number(math.sqrt(2 / fan(norm, shape)))})"


def fan(norm: int, shape: Shape) -> float:
    """What the numbers are scaled by: inputs, outputs, or their mean (filler.hpp)."""
    total = max(count(shape), 1)
    fan_in, fan_out = total / max(shape[0] if shape else 1, 1), total / max(shape[1] if len(shape) > 1 else 1, 1)
    return (fan_in, fan_out, (fan_in + fan_out) / 2)[norm]
