"""A net as an ONNX model that torch translates, for layers that have no form of their own for every size."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from netc import __version__
from netc.errors import NetcError
from netc.graph.ir import Graph, Node
from netc.runtime.export.graphs import Blobs, cannot, distinct_blobs, exported, net_with, quiet
from netc.runtime.export.naming import AXES, OPSET, name_of
from netc.runtime.export.opaque import TRANSLATIONS, opaque
from netc.runtime.export.shapes import Axes
from netc.runtime.net.module import Net
from netc.weights.card import CARD, Card
from netc.weights.model import Model


def write_traced(path: Path, source: Model, graph: Graph, axes: Axes, card: Card, beside: str | None) -> None:
    """`beside`: the file of the weights, None for within the model. Raises NetcError W773 where torch cannot export the
    net; OSError."""
    import onnx_ir

    model = _model(source, graph, axes)
    _simplify(model, {entry.key for entry in source.entries})
    _rename_axes(model, axes)
    _strip(model)
    _prune(model, [name_of(graph, blob) for blob in graph.outputs])
    model.producer_name, model.producer_version = "netc", __version__
    model.metadata_props.update({CARD: card.to_json()})
    onnx_ir.save(model, path, external_data=beside)


def _model(source: Model, graph: Graph, axes: Axes) -> Any:
    """torch's translation, with every blob that is a value of its own as an output, so that it keeps its name."""
    blobs, net = distinct_blobs(graph), net_with(graph, source.layers())
    with opaque(net):
        try:
            return _translated(net, graph, axes, blobs)
        except NetcError:
            raise
        except Exception as error:  # torch.onnx raises nearly anything
            raise cannot(graph, error, _first_without_form(net, graph, axes)) from error


def _first_without_form(net: Net, graph: Graph, axes: Axes) -> Node | None:
    """The first layer whose tops torch.onnx cannot translate, by halving: it does not say whose node it was at."""
    nodes = [node for node in graph.nodes if not node.layer.is_source]

    def fails(node: Node) -> bool:
        try:
            _translated(net, graph, axes, list(node.top_names))
        except Exception:
            return True
        return False

    place = bisect_left(nodes, True, key=fails)
    return nodes[place] if place < len(nodes) else None


def _translated(net: Net, graph: Graph, axes: Axes, blobs: Sequence[str]) -> Any:
    program = exported(Blobs(net, blobs), graph, axes)
    with quiet():
        made = torch.onnx.export(
            program,
            (),
            input_names=list(graph.inputs),
            output_names=[name_of(graph, blob) for blob in blobs],
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            optimize=False,
            custom_translation_table=TRANSLATIONS | {torch.ops.aten.sort.stable: _stable_sort},
        )
    assert made is not None
    return made.model


def _stable_sort(x: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """ArgMax's sort, which torch does not translate: of equal values TopK puts the first one first, too."""
    import onnxscript

    op: Any = onnxscript.opset20
    size = op.Reshape(op.Gather(op.Shape(x), op.Constant(value_int=dim)), op.Constant(value_ints=[1]))
    return op.TopK(x, size, axis=dim, largest=int(descending), sorted=1)


def _simplify(model: Any, parameters: set[str]) -> None:
    """Compute what depends on no input once and for all, but leave every parameter as it is, under its name: a runtime
    folds them into one another when it loads the model."""
    import onnxscript.optimizer

    def fold(node: Any) -> bool | None:
        return False if any(value is not None and value.name in parameters for value in node.inputs) else None

    with quiet():
        onnxscript.optimizer.fold_constants(model, onnx_shape_inference=False, should_fold=fold)
        onnxscript.optimizer.remove_unused_nodes(model)


def _rename_axes(model: Any, axes: Axes) -> None:
    """torch calls free axes s4, s77, …: say which they are."""
    names: dict[str, str] = {}
    for value in model.graph.inputs:
        for place, size in enumerate(value.shape):
            if not isinstance(size, int) and str(size.value) not in names:
                name = AXES[place] if place < len(AXES) else str(size.value)
                names[str(size.value)] = f"{name}_{value.name}" if name in names.values() else name
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b") if names else None
    for value in (*model.graph.inputs, *(output for node in model.graph for output in node.outputs)):
        if pattern is not None and value.shape is not None:
            value.shape = _shape(value.shape, names, pattern)


def _shape(shape: Any, names: Mapping[str, str], pattern: re.Pattern[str]) -> Any:
    import onnx_ir

    return onnx_ir.Shape(
        size if isinstance(size, int) else pattern.sub(lambda found: names[found[1]], str(size.value)) for size in shape
    )


def _strip(model: Any) -> None:
    """Take away what torch notes of its own insides, such as the paths of our source files."""
    holders = [model, model.graph, *model.graph, *model.graph.initializers.values(), *model.graph.inputs]
    for holder in (*holders, *(output for node in model.graph for output in node.outputs)):
        holder.metadata_props.clear()
        holder.doc_string = None


def _prune(model: Any, outputs: Sequence[str]) -> None:
    """Leave the net's outputs only, and what they need."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    kept = [value for value in model.graph.outputs if value.name in outputs]
    model.graph.outputs[:] = sorted(kept, key=lambda value: outputs.index(value.name))
    RemoveUnusedNodesPass()(model)
