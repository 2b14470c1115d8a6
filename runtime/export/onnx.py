"""A net as an ONNX model: inputs, outputs, blobs and parameters under Caffe's names, batch (and for fully convolutional
nets height and width) of any size."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netc import __version__
from netc.errors import NetcError
from netc.graph.ir import Graph, Node
from netc.runtime.export.graphs import Blobs, cannot, distinct_blobs, exported, net_with, quiet
from netc.runtime.export.opaque import TRANSLATIONS, opaque
from netc.runtime.export.shapes import Axes
from netc.runtime.net.module import Net
from netc.weights import Array
from netc.weights.card import CARD, Card
from netc.weights.model import Model
from netc.weights.proof import ProofFailure, proved

INLINE = 3 << 29
"""Bytes of weights up to which the model is one file; ONNX itself ends at 2 GiB. Beyond, they stand in OUT.data."""

OPSET = 20
_AXES = ("batch", "", "height", "width")


def require() -> None:
    """Raises NetcError W774 where a package that ONNX needs is not installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            raise NetcError("W774", f"ONNX needs {package}, which is not installed", None, HINT) from None


HINT = "pip install 'netc[onnx]'"


# -- writing -----------------------------------------------------------------------------------------------------------


def write_onnx(path: Path, source: Model, graph: Graph, axes: Axes, card: Card) -> None:
    """Raises NetcError W773 where torch cannot export the net, W774; OSError."""
    require()
    import onnx_ir

    model = _model(source, graph, axes)
    _simplify(model, {entry.key for entry in source.entries})
    _rename_axes(model, axes)
    _strip(model)
    _prune(model, [_name_of(graph, blob) for blob in graph.outputs])
    model.producer_name, model.producer_version = "netc", __version__
    model.metadata_props.update({CARD: card.to_json()})
    size = sum(entry.array.nbytes for entry in source.entries)
    onnx_ir.save(model, path, external_data=f"{path.name}.data" if size > INLINE else None)


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
            output_names=[_name_of(graph, blob) for blob in blobs],
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            optimize=False,
            custom_translation_table=TRANSLATIONS | {torch.ops.aten.sort.stable: _stable_sort},
        )
    assert made is not None
    return made.model


def _name_of(graph: Graph, blob: str) -> str:
    """A blob's name in the model: its own, but for one that a layer writes over an input, or that is an input which
    nothing reads. No two values of a model have one name."""
    name = blob
    while name in graph.inputs or (name != blob and name in graph.shapes):
        name += "_out"
    return name


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
                name = _AXES[place] if place < len(_AXES) else str(size.value)
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


# -- the proof ---------------------------------------------------------------------------------------------------------


def run_onnx(
    path: Path, inputs: Mapping[str, Array], source: Model, graph: Graph
) -> tuple[dict[str, Array], dict[str, Array], list[ProofFailure]]:
    """Check the file, run it in onnxruntime, and run it again with every blob as an output.

    Returns the outputs, the inner blobs, and the parameters compared with the source's. Raises NetcError W772 where
    onnx or onnxruntime refuse the file.
    """
    import onnx

    with _accepted():
        onnx.checker.check_model(str(path))
        blobs = {_name_of(graph, blob): blob for blob in graph.outputs}
        outputs = {blobs.get(name, name): value for name, value in _run(path, inputs).items()}
        with _instrumented(path, distinct_blobs(graph)) as (model, names):
            inner = {blobs.get(name, name): x for name, x in _run(model, inputs).items()} if names else {}
        arrays = _prove_arrays(path, source)
    return outputs, inner, arrays


def _run(path: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


@contextmanager
def _instrumented(path: Path, blobs: Sequence[str]) -> Iterator[tuple[Path, list[str]]]:
    """The model with those inner blobs as outputs that it has by name, in a file beside it."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    outputs = {value.name for value in model.graph.output}
    made = {name for node in model.graph.node for name in node.output}
    names = [name for name in blobs if name in made and name not in outputs]
    types = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(types[name] for name in names if name in types)
    other = path.with_name(f"{path.name}.blobs")
    try:
        onnx.save(model, str(other))
        del model
        yield other, names
    finally:
        other.unlink(missing_ok=True)


def _prove_arrays(path: Path, source: Model) -> list[ProofFailure]:
    import onnx
    from onnx.numpy_helper import to_array

    model = onnx.load(str(path))
    wanted = dict(source.singles())
    read = {one.name: np.asarray(to_array(one)) for one in model.graph.initializer if one.name in wanted}
    used = {name for node in model.graph.node for name in node.input}
    there = [(key, array) for key, array in wanted.items() if key in read or key in used]
    return proved(there, read)  # without those that no output depends on


@contextmanager
def _accepted() -> Iterator[None]:
    try:
        yield
    except (NetcError, OSError, MemoryError):
        raise
    except Exception as error:  # onnx and onnxruntime have no common exception
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NetcError(
            "W772", f"the ONNX model that was made is refused: {reason}", None, "please report it"
        ) from error
