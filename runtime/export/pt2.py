"""A net as torch.export's .pt2: `torch.export.load(file).module()({"data": x})` gives a dict of its output blobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from netc.files.sink import sink
from netc.graph.ir import Graph
from netc.runtime.export.graphs import Blobs, cannot, exported, net_with, quiet
from netc.runtime.export.shapes import Axes
from netc.weights import Array
from netc.weights.card import CARD, Card
from netc.weights.model import Model
from netc.weights.proof import ProofFailure, proved


def write_pt2(path: Path, source: Model, graph: Graph, axes: Axes, card: Card) -> None:
    """Raises NetcError W773 where torch cannot export the net; OSError."""
    net = net_with(graph, source.layers())
    program = exported(Blobs(net, graph.outputs), graph, axes)
    path.unlink(missing_ok=True)  # of a try with more free axes
    with quiet(), sink(path) as file:
        torch.export.save(program, file, extra_files={f"{CARD}.json": card.to_json()})


def run_pt2(path: Path, inputs: Mapping[str, Array], source: Model) -> tuple[dict[str, Array], list[ProofFailure]]:
    """The outputs of the file as it was read again, and its parameters compared with the source's.
    Raises NetcError W773 where the program refuses inputs of such sizes."""
    with quiet(), torch.no_grad():
        program: Any = torch.export.load(path)
        module = program.module()
        try:
            outputs = module({name: torch.from_numpy(x) for name, x in inputs.items()})
        except Exception as error:  # a guard on sizes raises nearly anything
            raise cannot(source.runnable(), error) from error
    state = {key: tensor.detach().numpy() for key, tensor in program.state_dict.items()}
    return {name: value.numpy() for name, value in outputs.items()}, proved(source.computed(), state)
