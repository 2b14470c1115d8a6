"""A net as torch.export's .pt2: `torch.export.load(file).module()({"data": x})` gives a dict of its output blobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netc.graph.ir import Graph
from netc.runtime.export.graphs import Blobs, cannot, exported, net_with, quiet
from netc.runtime.export.shapes import Axes
from netc.weights import Array
from netc.weights.card import CARD, Card
from netc.weights.model import Model
from netc.weights.proof import ProofFailure, same_bits


def write_pt2(path: Path, source: Model, graph: Graph, axes: Axes, card: Card) -> None:
    """Raises NetcError W773 where torch cannot export the net; OSError."""
    net = net_with(graph, source.layers())
    program = exported(Blobs(net, graph.outputs), graph, axes)
    with quiet():
        torch.export.save(program, path, extra_files={f"{CARD}.json": card.to_json()})


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
    state = program.state_dict
    empty = np.zeros((0,), "<f4")
    arrays = [
        same_bits(entry.key, entry.array.astype("<f4", copy=False), _array(state, entry.key, empty))
        for entry in source.entries
    ]
    return {name: value.numpy() for name, value in outputs.items()}, arrays


def _array(state: Mapping[str, torch.Tensor], key: str, empty: Array) -> Array:
    return state[key].detach().numpy() if key in state else empty
