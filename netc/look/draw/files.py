"""A file as a picture: the net of one phase, with its shapes where they can be known.

drawing(path, phase, level, stages, told) -> Drawing
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from netc.check.analyse import analyse
from netc.check.probe import Probe, Told
from netc.errors import NetcError
from netc.errors.words import scaled
from netc.graph.compile import compile_layers
from netc.graph.filter import NAMES, Layers, filter_net, state_of
from netc.graph.ir import Graph
from netc.graph.read import draft_net
from netc.look.draw.picture import Picture, picture
from netc.look.draw.words import kind_of
from netc.prototxt.draft import Draft

SHAPELESS = frozenset({"L304", "F120", "G410"})
"""Errors that say no more than that shapes are not known: of the data, of a layer type. So do those of sections D and
X, which are about the data themselves."""


@dataclass(slots=True)
class Drawing:
    """`title`: the net's name, phase and costs. `notes`: what had to be assumed or left out."""

    picture: Picture
    title: str = ""
    notes: list[str] = field(default_factory=list)


def drawing(path: str, phase: str | None, level: int, stages: Sequence[str], told: Told) -> Drawing:
    """Of a net's file. `phase`: TRAIN or TEST; None for TRAIN where the net has a loss, else TEST.

    Raises NetcError for whatever is wrong with the net but that shapes are not known.
    """
    draft = draft_net(Path(path))
    number = NAMES.index(phase) if phase else _usual_phase(draft)
    layers = filter_net(draft, state_of(draft, number, level, stages))
    notes: list[str] = []
    graph = _graph(layers, told, notes)
    made = picture(layers, graph, NAMES[number])
    made.name = made.name or Path(path).stem
    return Drawing(made, _title(made, graph), notes)


def _usual_phase(draft: Draft) -> int:
    """TRAIN where something in the file is a loss, TEST in a net for use."""
    return 0 if any(kind_of(layer.type) == "loss" for layer in draft.param.layer) else 1


def _graph(layers: Layers, told: Told, notes: list[str]) -> Graph | None:
    """The compiled net, or None (and a note about it) where only shapes cannot be known."""
    probe = Probe(layers.draft.path, told)
    try:
        graph = compile_layers(layers, probe)
    except NetcError as error:
        if any(one.code not in SHAPELESS and one.code[0] not in "DX" for one in error.errors):
            raise
        hint = f" ({error.hint})" if error.hint and error.code == "F120" else ""
        notes.append(f"drawn without shapes: {error.message}{hint}")
        return None
    notes += [f"note: {note}" for note in probe.notes]
    return graph


def _title(made: Picture, graph: Graph | None) -> str:
    name = f"{made.name} ({made.phase})"
    if graph is None:
        return name
    costs = analyse(graph)
    return f"{name}: {costs.params:,} parameters, {scaled(costs.macs)} multiply-adds an image"
