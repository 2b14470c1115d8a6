"""Emitted code as files: the net that a file holds, compiled for it; the code and its weights, both or neither."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from netc.check.probe import Probe, Told
from netc.files.durable import Staging
from netc.graph.compile import compile_net
from netc.graph.ir import Graph
from netc.weights.formats.safetensors import write_safetensors
from netc.weights.model import open_for


def compiled(path: str, phase: str, level: int, stages: Iterable[str], told: Told) -> Graph:
    """The net in a file, for one phase; data that are not here are taken as `told`, or as their settings say."""
    return compile_net(Path(path), phase, level, stages, Probe(path, told))


def write(output: Path, code: str, graph: Graph, weights: str | None, force: bool = False) -> None:
    """The code, and the weights (of a file for that net) beside it as .safetensors: both files, or neither.
    `force`: replace files that are there. Raises NetcError O140, O165, X166, X167, and those of
    `netc.weights.model.open_for`."""
    model = open_for(graph, weights) if weights is not None else None
    with Staging(output, force=force) as staging:
        staging.write(output, [code.encode()])
        if model is not None:
            tensors = {entry.key: entry.tensor for entry in model.entries}
            write_safetensors(staging.path.with_suffix(".safetensors"), tensors, metadata={"format": "pt"})
        staging.publish()
