"""A net as an ONNX model: inputs, outputs, blobs and parameters under Caffe's names, batch (and for fully convolutional
nets height and width) of any size. It is written straight from the layer types where all of them have a form that holds
for every size (`direct`), and traced by torch where not (`traced`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from netc.errors import NetcError
from netc.graph.ir import Graph
from netc.runtime.export.direct import write_direct
from netc.runtime.export.graphs import distinct_blobs
from netc.runtime.export.naming import name_of
from netc.runtime.export.shapes import Axes
from netc.weights import Array
from netc.weights.card import Card
from netc.weights.model import Model
from netc.weights.proof import ProofFailure, proved

INLINE = 3 << 29
"""Bytes of weights up to which the model is one file; ONNX itself ends at 2 GiB. Beyond, they stand in OUT.data."""


def require(*further: str) -> None:
    """Raises NetcError W774 where a package that ONNX needs is not installed."""
    for package in ("onnx", "onnxruntime", *further):
        try:
            __import__(package)
        except ImportError:
            raise NetcError("W774", f"ONNX needs {package}, which is not installed", None, HINT) from None


HINT = "pip install 'netc[onnx]'"


def write_onnx(path: Path, source: Model, graph: Graph, axes: Axes, card: Card) -> None:
    """Raises NetcError W773 where torch would have to export the net and cannot, W774; OSError."""
    require()
    size = sum(entry.array.nbytes for entry in source.entries)
    beside = f"{path.name}.data" if size > INLINE else None
    if write_direct(path, source, graph, axes, card, beside):
        return
    require("onnxscript")
    from netc.runtime.export.traced import write_traced

    write_traced(path, source, graph, axes, card, beside)


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
        blobs = {name_of(graph, blob): blob for blob in graph.outputs}
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
