"""Nets and solvers as they come in, from a path or from text, text or binary, brought to the current format.

    open_file(path or text) -> TextFile | BinaryFile     told apart and parsed: kind, draft(), solver()
    draft_net(source), read_net(source), read_solver(source), of a message too

The learned arrays of binary files are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from netc import proto
from netc.errors import NetcError, Place, raise_all
from netc.errors.origin import Origin
from netc.files.consent import mark_unread
from netc.files.shipped import locate as locate_shipped
from netc.layers import Layer, registry
from netc.prototxt import Message as Tree
from netc.prototxt import Source, parse
from netc.prototxt.bind import bind
from netc.prototxt.draft import Draft, is_set, locate, message_origins, origins_of
from netc.prototxt.forks import TYPE_OF_BLOCK
from netc.prototxt.source import may_be_binary
from netc.prototxt.unknown import FILES
from netc.upgrade import upgrade_net, upgrade_solver

if TYPE_CHECKING:
    from netc.prototxt.binary import Binary

NetSource = str | os.PathLike[str] | Message | Source
"""A path (of text or of a binary message), prototxt text, or a NetParameter; at the public functions also a folder, or
the name of a net that comes with netc (`meant`)."""


def read_net(source: NetSource) -> Any:
    """Read a net into a NetParameter of the current format, whatever the file's own, text or binary. The learned arrays
    of a binary file are left out.

    >>> net = netc.read_net("mini_vgg_A")
    >>> net.name
    'mini_vgg_A'
    >>> [layer.type for layer in net.layer[-3:]]
    ['SoftmaxWithLoss', 'Accuracy', 'Accuracy']

    `source`: a path, prototxt text or a NetParameter, of which this is a copy; the name of a net that comes with netc
    or a folder is its train_val.prototxt. Raises NetcError; NetcErrors where there are several.
    """
    return draft_net(meant(source, "train_val.prototxt")).param


def read_solver(source: NetSource) -> Any:
    """Read a solver into a SolverParameter of the current format.

    >>> netc.read_solver("mini_vgg_A").lr_policy
    'plateau'

    `source`: a path (text or binary), prototxt text or a SolverParameter; the name of a net that comes with netc or a
    folder is its solver.prototxt. Raises NetcError; NetcErrors where there are several.
    """
    return locate_solver(meant(source, "solver.prototxt"))[0]


def meant(source: NetSource, file: str) -> NetSource:
    """The source that a call in Python means, as on the command line: a folder is its `file`, and a name that is no
    file here that of the net that comes with netc. Raises NetcError F103."""
    if not isinstance(source, str | os.PathLike) or _is_text(source) or not os.fspath(source):
        return source
    found = locate_shipped(source, file)
    return found if isinstance(source, str) else Path(found)  # a path may look like a text


def draft_net(source: NetSource) -> Draft:
    """A net with the places of its layers; of a message, a copy."""
    if _is_message(source, "NetParameter"):
        given = proto.NetParameter()
        given.CopyFrom(proto.renewed(source))
        return _current(Draft(given, message_origins(given.layer, "<NetParameter>")))
    return open_file(_readable(source)).draft()


def _current(given: Draft) -> Draft:
    """The draft in the current format. Raises NetcErrors of `upgrade_net`, and L354."""
    draft = upgrade_net(given)
    raise_all(list(_lost_blocks(draft)))
    return draft


def _lost_blocks(draft: Draft) -> Iterator[NetcError]:
    """Blocks of forks in layers of Caffe's own that do not look at them: their settings would be lost silently."""
    for layer, origin in zip(draft.param.layer, draft.origins, strict=True):
        for block in [f.name for f, _ in layer.ListFields() if f.name in TYPE_OF_BLOCK]:
            reader = TYPE_OF_BLOCK[block]
            if reader != layer.type and (kind := registry().get(layer.type)) and kind.fork is None:
                yield NetcError(
                    "L354",
                    f'layer "{layer.name}" ({layer.type}) has a {block}, which only {reader} layers of forks of Caffe '
                    f"read",
                    origin.place(block),
                    f"take it out, or make the layer a {reader}",
                )


def locate_solver(source: NetSource) -> tuple[Any, Origin]:
    """A SolverParameter, the caller's own, and the origin that finds the places of its fields."""
    if _is_message(source, "SolverParameter"):
        origin = Origin(Place("<SolverParameter>"))
        return upgrade_solver(proto.renewed(source), origin.place), origin
    return open_file(_readable(source)).solver()


def _readable(source: NetSource) -> str | os.PathLike[str] | Source:
    """Anything but a message of ours. Raises NetcError C252."""
    if isinstance(source, str | os.PathLike | Source):
        return source
    kind = getattr(getattr(source, "DESCRIPTOR", None), "full_name", type(source).__name__)
    hint = "give a path, the text of a prototxt, or a message of netc's own (netc.read_net, netc.read_solver)"
    raise NetcError("C252", f"a {kind} is neither a net nor a solver", None, hint)


def _is_message(source: NetSource, name: str) -> bool:
    """Whether it is a message of ours of that name, even of a class from before a plug-in was loaded."""
    return getattr(getattr(source, "DESCRIPTOR", None), "full_name", "") == f"{proto.PACKAGE}.{name}"


def unread_net(source: Any, path: str) -> Draft:
    """A net that came out of a weight file or a card (a NetParameter or its text): one that opens and writes no files
    (netc.files.consent)."""
    mark_unread(path)
    if isinstance(source, str):
        text = Source(source, path)
        tree = parse(text)
        return _current(Draft(bind(tree, proto.NetParameter, text, registry), origins_of(text, tree), text, tree))
    return _current(Draft(source, message_origins(source.layer, path), Source("", path)))


class Drafts:
    """The drafts of nets by their source; a file is read once."""

    def __init__(self) -> None:
        self._read: dict[str, Draft] = {}

    def __call__(self, source: NetSource) -> Draft:
        if not isinstance(source, str):
            return draft_net(source)
        if source not in self._read:
            self._read[source] = draft_net(source)
        return self._read[source]


# -- files -------------------------------------------------------------------------------------------------------------


def open_file(source: str | os.PathLike[str] | Source) -> TextFile | BinaryFile:
    """A path or prototxt text, a net's or a solver's; a bracket, a newline or a colon with a blank makes it text.

    Raises NetcError as reading and parsing the file.
    """
    if not isinstance(source, Source):
        if not _is_text(source) and may_be_binary(source):
            from netc.prototxt.binary import open_binary

            if (binary := open_binary(source)) is not None:
                return BinaryFile(binary)
        source = Source(str(source)) if _is_text(source) else Source.read(source)
    return TextFile(source, parse(source))


def _is_text(source: str | os.PathLike[str]) -> bool:
    return isinstance(source, str) and any(mark in source for mark in ("{", "\n", ": ", "<"))


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text that is parsed, but not bound to a message."""

    source: Source
    tree: Tree

    @property
    def kind(self) -> str:
        """ "net", "solver", "schedule" or "table": whose fields most of the file's are."""
        names = [item.name for item in self.tree.fields]

        def own(kind: str) -> int:
            return sum(name in proto.message(kind).DESCRIPTOR.fields_by_name for name in names)

        return FILES[max(FILES, key=own)]

    def draft(self) -> Draft:
        """The net: bind, upgrade."""
        mark_unread(self.source.path, unread=False)
        param = bind(self.tree, proto.NetParameter, self.source, registry)
        return _current(Draft(param, origins_of(self.source, self.tree), self.source, self.tree))

    def solver(self) -> tuple[Any, Origin]:
        """The solver, and the origin of its fields."""
        origin = Origin(Place(self.source.path), lambda path: locate(self.source, self.tree, path))
        return upgrade_solver(bind(self.tree, proto.SolverParameter, self.source), origin.place), origin

    def schedule(self) -> tuple[Any, Origin]:
        """The schedule, and the origin of its fields."""
        origin = Origin(Place(self.source.path), lambda path: locate(self.source, self.tree, path))
        return bind(self.tree, proto.message("ScheduleParameter"), self.source), origin

    def table(self) -> tuple[Any, Origin]:
        """The table of results, and the origin of its fields."""
        origin = Origin(Place(self.source.path), lambda path: locate(self.source, self.tree, path))
        return bind(self.tree, proto.message("TableParameter"), self.source), origin


@dataclass(frozen=True, slots=True)
class BinaryFile:
    """The same of a binary file."""

    source: Binary

    @property
    def kind(self) -> str:
        return self.source.kind

    def draft(self) -> Draft:
        """Raises NetcError S209 for a solver, U130 and U131 for a damaged file."""
        given, path = self._message("net"), self.source.path
        mark_unread(path)
        draft = Draft(given, message_origins(given.layer, path), Source("", path))
        draft.weights = path if self.source.has_arrays else ""
        for message, place in self.source.remarks(given):
            draft.remark("A881", message, place)
        current = _current(draft)
        for layer in current.param.layer:
            if registry().get(layer.type, Layer).effect:
                message = f'layer "{layer.name}" ({layer.type}) writes nothing, as the net is not a text'
                current.remark("A882", message, Place(path, part=layer.name), "write the net as a .prototxt")
        return current

    def solver(self) -> tuple[Any, Origin]:
        """Raises NetcError S209 for a net, U130 and U131 for a damaged file."""
        given, path = self._message("solver"), self.source.path
        origin = Origin(Place(path), lambda part: Place(path, part=part) if is_set(given, part) else None)
        return upgrade_solver(given, origin.place), origin

    def _message(self, kind: str) -> Any:
        if self.kind != kind:
            hint = "a solver has a line `net: …`; weights are given with --weights" if kind == "solver" else None
            hint = hint or "the file that a solver's `net:` names is the net"
            raise NetcError("S209", f"this is a binary {self.kind}, not a {kind}", Place(self.source.path), hint)
        return self.source.message()
