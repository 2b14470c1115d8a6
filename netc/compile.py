"""The pipeline, from text to checked graph. Each stage is one function in one file; this page only strings them up."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from netc import proto
from netc.bind import bind
from netc.build import build
from netc.draft import Draft, Layers, locate, origins_of
from netc.errors import NetcError, Place
from netc.filter import NAMES, filter_net, set_state
from netc.ir import Graph
from netc.layers.base import Origin, Probe
from netc.prototxt import Message, Source, parse
from netc.splits import insert_splits
from netc.upgrade import upgrade_net, upgrade_solver
from netc.verify import verify

NetSource = Any
"""A path, prototxt text, or a NetParameter."""


def read_net(source: NetSource) -> Any:
    """Read a net (path or prototxt text) into a NetParameter of the current format, whatever the file's own."""
    return draft_net(source).param


def read_solver(source: NetSource) -> Any:
    """Read a solver (path or prototxt text) into a SolverParameter of the current format."""
    return locate_solver(source)[0]


def locate_solver(source: NetSource) -> tuple[Any, Origin]:
    """A SolverParameter and the origin that finds the places of its fields."""
    if isinstance(source, proto.SolverParameter):
        copy = proto.SolverParameter()
        copy.CopyFrom(source)
        return copy, Origin(Place("<SolverParameter>"))
    text = as_source(source)
    return solver_of(text, parse(text))


def solver_of(text: Source, tree: Message) -> tuple[Any, Origin]:
    """The same of a file that is parsed already."""
    origin = Origin(Place(text.path), lambda path: locate(text, tree, path))
    return upgrade_solver(bind(tree, proto.SolverParameter, text), origin.place), origin


def compile_net(
    source: NetSource,
    phase: int | str = "TRAIN",
    level: int = 0,
    stages: Iterable[str] = (),
    probe: Probe | None = None,
) -> Graph:
    """Compile a net for one phase.

    `source`: a path, prototxt text or NetParameter (not changed). `probe(layer_param, phase)` gives the top shapes of
    data layers; without it they are taken from crop_size. Raises NetcError; NetcErrors where there are several.
    """
    return compile_draft(set_state(draft_net(source), phase_number(phase), level, stages), probe)


def compile_draft(draft: Draft, probe: Probe | None = None) -> Graph:
    """The last stages, for a draft whose state (phase, level, stages) is set: filter, splits, build, verify."""
    return compile_layers(filter_net(draft), probe)


def compile_layers(layers: Layers, probe: Probe | None = None) -> Graph:
    """The same for the layers of one phase."""
    return verify(build(insert_splits(layers), probe))


def draft_net(source: NetSource) -> Draft:
    """The first stages: parse, bind, upgrade."""
    if isinstance(source, proto.NetParameter):
        param = proto.NetParameter()
        param.CopyFrom(source)
        return upgrade_net(Draft(param, [Origin(Place(f"<layer {layer.name}>")) for layer in param.layer]))
    text = as_source(source)
    return draft_of(text, parse(text))


def draft_of(text: Source, tree: Message) -> Draft:
    """The same of a file that is parsed already: bind, upgrade."""
    return upgrade_net(Draft(bind(tree, proto.NetParameter, text), origins_of(text, tree), text, tree))


class Drafts:
    """The drafts of nets by their source; a file is read once, and each call gives a copy that may be changed."""

    def __init__(self) -> None:
        self._read: dict[str, Draft] = {}

    def __call__(self, source: NetSource) -> Draft:
        if not isinstance(source, str):
            return draft_net(source)
        if source not in self._read:
            self._read[source] = draft_net(source)
        return self._read[source].copy()


def as_source(source: str | os.PathLike[str] | Source) -> Source:
    """A path or prototxt text as a Source; a bracket, a newline or a colon with a blank makes it text."""
    if isinstance(source, Source):
        return source
    if isinstance(source, str) and any(mark in source for mark in ("{", "\n", ": ", "<")):
        return Source(source)
    return Source.read(source)


def phase_number(phase: int | str) -> int:
    """0 for TRAIN, 1 for TEST; the names in either case."""
    if isinstance(phase, str) and phase.upper() in NAMES:
        return NAMES.index(phase.upper())
    if phase in (0, 1):
        return int(phase)
    raise NetcError("C101", f"phase is TRAIN or TEST, not {phase!r}")
