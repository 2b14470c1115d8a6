"""What comes into the net: what the file says of its images, and the constants of DummyData layers."""

from __future__ import annotations

import math
import os
from typing import Any

from netc.errors import NetcError
from netc.graph.ir import Graph, Node
from netc.layers.base import Shape
from netc.layers.code import number, tuple_of
from netc.look.emit.fillers import fan
from netc.look.emit.text import docstring, shown


def convention(graph: Graph, blob: str) -> str:
    """How the top `blob` of a source layer is made, for the docstring: what is known of it, "" for nothing."""
    node = next(node for node in graph.nodes if node.layer.is_source and blob in node.tops)
    position, shape = node.tops.index(blob), node.top_shapes[node.tops.index(blob)]
    if node.type == "DummyData":
        return "made up where it is not given"
    if node.type in ("Data", "ImageData", "WindowData", "MemoryData"):
        return "whole numbers" if position else _transformed(node.layer.param, shape)
    if len(shape) == 4 and shape[1] == 3:
        return "images as the net was trained on, in Caffe mostly BGR, 0 to 255 minus the mean"
    return ""


def _transformed(param: Any, shape: Shape) -> str:
    """The transform_param (of a WindowData layer its own fields) in words."""
    options = param.window_data_param if param.type == "WindowData" else param.transform_param
    parts = ["BGR images" if shape[1] == 3 else "images"]
    means = list(getattr(options, "mean_value", ()))
    if means:
        parts.append(f"minus {tuple_of([number(mean) for mean in means]) if len(means) > 1 else number(means[0])}")
    if options.mean_file:
        parts.append(f"minus the mean image {docstring(shown(os.path.basename(options.mean_file)))}")
    if options.scale != 1:
        parts.append(f"times {number(options.scale)}")
    return ", ".join(parts)


def fillings(graph: Graph) -> dict[str, str]:
    """Top of a DummyData layer → the expression that makes it; `device` is a variable there."""
    found = {}
    for node in graph.nodes:
        if node.type == "DummyData":
            fillers = list(node.layer.options.data_filler)
            for position, (top, shape) in enumerate(zip(node.tops, node.top_shapes, strict=True)):
                filler = fillers[position % len(fillers)] if fillers else None
                found[top] = _filling(node, filler, shape)
    return found


def _filling(node: Node, filler: Any, shape: Shape) -> str:
    """Constants, and the random fillers with the numbers that Caffe's formulas give for this shape."""
    kind = filler.type if filler is not None else "constant"
    size, value = tuple_of(shape) if shape else "()", filler.value if filler is not None else 0
    if kind == "constant":
        dims = ", ".join(map(str, shape)) or "()"
        return (
            f"torch.full({size}, {float(number(value))!r}, device=device)"
            if value
            else f"torch.zeros({dims}, device=device)"
        )
    empty = f"torch.empty({size}, device=device)"
    if kind == "uniform":
        return f"{empty}.uniform_({number(filler.min)}, {number(filler.max)})"
    if kind == "gaussian" and filler.sparse < 0:
        return f"{empty}.normal_({number(filler.mean)}, {number(filler.std)})"
    if kind == "xavier":
        bound = math.sqrt(3 / fan(filler.variance_norm, shape))
        return f"{empty}.uniform_(-{number(bound)}, {number(bound)})"
    if kind == "msra":
        return f"{empty}.normal_(0, {number(math.sqrt(2 / fan(filler.variance_norm, shape)))})"
    message = f'layer "{node.name}" cannot be written as a module of its own: it fills data by the filler "{kind}"'
    raise NetcError(
        "L390", message, node.layer.origin.place("dummy_data_param.data_filler"), "give the blob as an Input"
    )
