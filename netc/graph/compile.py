"""The pipeline, from text to checked graph. Each stage is one function in one file; this page only strings them up."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from netc import proto
from netc.errors import NetcError, Place
from netc.errors.foreign import allowing
from netc.errors.origin import Origin
from netc.graph.build import build
from netc.graph.filter import NAMES, filter_net, set_state
from netc.graph.ir import Graph
from netc.graph.splits import insert_splits
from netc.graph.verify import verify
from netc.layers.base import Probe
from netc.prototxt import Message, Source, parse
from netc.prototxt.bind import bind
from netc.prototxt.draft import Draft, Layers, is_set, locate, message_origins, origins_of
from netc.prototxt.source import may_be_binary
from netc.upgrade import upgrade_net, upgrade_solver

if TYPE_CHECKING:
    from netc.prototxt.binary import Binary

NetSource = Any
"""A path (of text or of a binary message), prototxt text, or a NetParameter."""


def read_net(source: NetSource) -> Any:
    """Read a net (path, or prototxt text) into a NetParameter of the current format, whatever the file's own, text or
    binary. The learned arrays of a binary file are left out."""
    return draft_net(source).param


def read_solver(source: NetSource) -> Any:
    """Read a solver (path, text or binary, or prototxt text) into a SolverParameter of the current format."""
    return locate_solver(source)[0]


def locate_solver(source: NetSource) -> tuple[Any, Origin]:
    """A SolverParameter and the origin that finds the places of its fields."""
    if _is_message(source, "SolverParameter"):
        copy = proto.SolverParameter()
        copy.CopyFrom(proto.renewed(source))
        return copy, Origin(Place("<SolverParameter>"))
    opened = open_source(source)
    return binary_solver(opened) if not isinstance(opened, Source) else solver_of(opened, parse(opened))


def binary_solver(file: Binary) -> tuple[Any, Origin]:
    """The same of a binary file. Raises NetcError S209 for a net, U130 and U131 for a damaged file."""
    _expect(file, "solver")
    param = file.message()
    given = type(param).FromString(param.SerializeToString())
    place = Place(file.path)
    origin = Origin(place, lambda path: Place(file.path, part=path) if is_set(given, path) else None)
    return upgrade_solver(param, origin.place), origin


def _expect(file: Binary, kind: str) -> None:
    if file.kind != kind:
        raise NetcError("S209", f"this is a binary {file.kind}, not a {kind}", Place(file.path))


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
    allow_python_layers: Iterable[str] = (),
) -> Graph:
    """Compile a net for one phase.

    `source`: a path, prototxt text or NetParameter (not changed). `probe(layer_param, phase)` gives the top shapes of
    data layers; without it they are taken from crop_size. `allow_python_layers`: the modules whose Python layers may
    run, which they do to tell their shapes. Raises NetcError; NetcErrors where there are several.
    """
    with allowing(allow_python_layers):
        return compile_draft(set_state(draft_net(source), phase_number(phase), level, stages), probe)


def compile_draft(draft: Draft, probe: Probe | None = None) -> Graph:
    """The last stages, for a draft whose state (phase, level, stages) is set: filter, splits, build, verify."""
    return compile_layers(filter_net(draft), probe)


def compile_layers(layers: Layers, probe: Probe | None = None) -> Graph:
    """The same for the layers of one phase."""
    return verify(build(insert_splits(layers), probe))


def draft_net(source: NetSource) -> Draft:
    """The first stages: parse, bind, upgrade."""
    if _is_message(source, "NetParameter"):
        param = proto.NetParameter()
        given = proto.renewed(source)
        param.CopyFrom(given)
        return upgrade_net(Draft(param, message_origins(given.layer, "<NetParameter>"), original=given))
    opened = open_source(source)
    return binary_draft(opened) if not isinstance(opened, Source) else draft_of(opened, parse(opened))


def binary_draft(file: Binary) -> Draft:
    """The same of a binary file. Raises NetcError S209 for a solver, U130 and U131 for a damaged file."""
    _expect(file, "net")
    given = file.message()
    param = type(given)()
    param.CopyFrom(given)
    draft = Draft(param, message_origins(given.layer, file.path), Source("", file.path), original=given)
    for message, place in file.remarks(given):
        draft.remark("A881", message, place)
    return upgrade_net(draft)


def draft_of(text: Source, tree: Message) -> Draft:
    """The same of a file that is parsed already: bind, upgrade."""
    return upgrade_net(Draft(bind(tree, proto.NetParameter, text), origins_of(text, tree), text, tree))


def is_solver(tree: Message) -> bool:
    """Whether the file's fields are a solver's rather than a net's."""
    names = [item.name for item in tree.fields]
    solver, net = (
        sum(name in message.DESCRIPTOR.fields_by_name for name in names)
        for message in (proto.SolverParameter, proto.NetParameter)
    )
    return solver > net


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


def open_source(source: str | os.PathLike[str] | Source) -> Source | Binary:
    """A path or prototxt text as a Source, or as a Binary where the path is a file that holds a binary message."""
    if not isinstance(source, Source) and not _is_text(source) and may_be_binary(source):
        from netc.prototxt.binary import open_binary

        return open_binary(source) or Source.read(source)
    return as_source(source)


def _is_message(source: NetSource, name: str) -> bool:
    """Whether it is a message of ours of that name, even of a class from before a plug-in was loaded."""
    return getattr(getattr(source, "DESCRIPTOR", None), "full_name", "") == f"{proto.PACKAGE}.{name}"


def as_source(source: str | os.PathLike[str] | Source) -> Source:
    """A path or prototxt text as a Source; a bracket, a newline or a colon with a blank makes it text."""
    if isinstance(source, Source):
        return source
    return Source(str(source)) if _is_text(source) else Source.read(source)


def _is_text(source: str | os.PathLike[str]) -> bool:
    return isinstance(source, str) and any(mark in source for mark in ("{", "\n", ": ", "<"))


def phase_number(phase: int | str) -> int:
    """0 for TRAIN, 1 for TEST; the names in either case."""
    if isinstance(phase, str) and phase.upper() in NAMES:
        return NAMES.index(phase.upper())
    if phase in (0, 1):
        return int(phase)
    raise NetcError("C101", f"phase is TRAIN or TEST, not {phase!r}")
