"""What differs in meaning between two nets, or two solvers.

compare_nets(a, b, graphs) -> NetDiff        the layers of two nets
compare_solvers(a, b) -> list[FieldChange]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from netc.errors import Place
from netc.errors.origin import Origin
from netc.graph.edges import NOWHERE, Top
from netc.graph.filter import Layers
from netc.graph.ir import Graph, Node
from netc.layers import registry
from netc.layers.base import Shape, count
from netc.look.diff.match import Piece, Wiring, carried, match, wiring
from netc.look.diff.meaning import SPELLINGS, Table, default_of, fields
from netc.prototxt.draft import Draft


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A setting and its two values; None: not set, and without a default that could be said."""

    field: str
    old: Any
    new: Any
    old_place: Place
    new_place: Place


@dataclass(slots=True)
class LayerChange:
    """`kind`: "added", "removed", "renamed" or "changed" (a renamed layer may have changed too)."""

    kind: str
    name: str
    type: str
    old_place: Place | None = None
    new_place: Place | None = None
    new_name: str = ""
    fields: list[FieldChange] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Effect:
    """What follows for a layer that both nets have: its first top and its parameters, before and after."""

    name: str
    old_shape: Shape
    new_shape: Shape
    old_params: int
    new_params: int


@dataclass(slots=True)
class NetDiff:
    """`effects` and `params` only where both nets could be compiled. `fitting`: layers with weights that have the same
    name and shapes in both; `unfit`: those of the same name and other shapes; `weighted`: how many either net has.
    `reordered`: the learning layers stand in another order, which only a .solverstate notices."""

    phase: str
    paths: tuple[str, str]
    changes: list[LayerChange]
    net_fields: list[FieldChange]
    effects: list[Effect] = field(default_factory=list)
    params: tuple[int, int] | None = None
    fitting: int = 0
    unfit: list[str] = field(default_factory=list)
    weighted: tuple[int, int] = (0, 0)
    reordered: bool = False

    @property
    def same(self) -> bool:
        return not (self.changes or self.net_fields)


def compare_nets(a: Layers, b: Layers, phase: str, graphs: tuple[Graph, Graph] | None = None) -> NetDiff:
    """`graphs` were compiled from `a` and `b`."""
    one, two = (wiring(layers, phase == "TRAIN") for layers in (a, b))
    pairs = match(one, two)
    changes = list(_changes(one, two, pairs))
    found = NetDiff(phase, (a.draft.path, b.draft.path), changes, list(_net_fields(a.draft, b.draft)))
    if graphs is not None:
        _weigh(found, *graphs, {one.pieces[i].key: two.pieces[j].key for i, j in pairs.items()})
    return found


def _net_fields(a: Draft, b: Draft) -> Iterator[FieldChange]:
    """Of the net itself, what has an effect."""
    for name in ("force_backward",):
        old, new = getattr(a.param, name), getattr(b.param, name)
        if old != new:
            yield FieldChange(name, old, new, a.place(name), b.place(name))


def _changes(a: Wiring, b: Wiring, pairs: dict[int, int]) -> Iterator[LayerChange]:
    back = {j: i for i, j in pairs.items()}
    for index, piece in enumerate(a.pieces):
        if index not in pairs:
            yield LayerChange("removed", piece.layer.name, piece.layer.type, piece.origin.start)
    for index, new in enumerate(b.pieces):
        if index not in back:
            yield LayerChange("added", new.layer.name, new.layer.type, None, new.origin.start)
            continue
        old = a.pieces[back[index]]
        changed = [*_types(old, new), *_reads(a, b, old, new, pairs), *_tops(a, b, back[index], index)]
        renamed = old.layer.name != new.layer.name
        if changed or renamed:
            kind, places = "renamed" if renamed else "changed", (old.origin.start, new.origin.start)
            yield LayerChange(kind, old.layer.name, new.layer.type, places[0], places[1], new.layer.name, changed)


def _types(old: Piece, new: Piece) -> Iterator[FieldChange]:
    """The type, or where that is the same, the settings: those of two types have nothing to do with each other."""
    if old.layer.type == new.layer.type:
        yield from changed_fields(old.table, new.table, (old.layer, new.layer), (old.origin, new.origin))
        return
    yield FieldChange("type", old.layer.type, new.layer.type, old.origin.place("type"), new.origin.place("type"))


def changed_fields(
    old: Table, new: Table, messages: tuple[Any, Any], origins: tuple[Origin, Origin]
) -> Iterator[FieldChange]:
    """The settings in which two tables differ, in the order of the first and then of the second."""
    for key in dict.fromkeys([*old, *new]):
        before, after = (
            table[key] if key in table else default_of(message, key)
            for table, message in zip((old, new), messages, strict=True)
        )
        if (key in old) != (key in new) or before != after:
            yield FieldChange(key, before, after, place_of(origins[0], key), place_of(origins[1], key))


def place_of(origin: Origin, key: str) -> Place:
    """Where a setting stands, under any of its spellings; where it would stand, if it is absent."""
    head, _, name = key.rpartition(".")
    for spelling in (name, *SPELLINGS.get(name, ())):
        found = origin.locate(f"{head}.{spelling}" if head else spelling)
        if found is not None:
            return found
    return origin.place(head)


def _reads(a: Wiring, b: Wiring, old: Piece, new: Piece, pairs: dict[int, int]) -> Iterator[FieldChange]:
    """Bottoms that come from another layer."""
    mapped = [carried(source, pairs) for source in old.reads]
    for at in range(max(len(mapped), len(new.reads))):
        before = mapped[at] if at < len(mapped) else None
        after = new.reads[at] if at < len(new.reads) else None
        if before == after:
            continue
        said = _said(a, old.reads[at]) if before else None, _said(b, new.reads[at]) if after else None
        places = old.origin.place(f"bottom[{at}]"), new.origin.place(f"bottom[{at}]")
        yield FieldChange(f"bottom[{at}]", said[0], said[1], places[0], places[1])


def _said(net: Wiring, source: Top) -> str:
    if source == NOWHERE:
        return "nothing"
    layer = net.pieces[source[0]].layer
    return f"{layer.name}" + (f" (top {source[1]})" if len(layer.top) > 1 else "")


def _tops(a: Wiring, b: Wiring, old: int, new: int) -> Iterator[FieldChange]:
    """Names of tops matter where others use them: those of sources are fed, those that nothing reads are results."""
    one, two = a.pieces[old], b.pieces[new]
    cls = registry().get(two.layer.type)
    fed = cls is not None and cls.is_source
    for at in range(max(len(one.layer.top), len(two.layer.top))):
        names = [piece.layer.top[at] if at < len(piece.layer.top) else None for piece in (one, two)]
        result = (old, at) in a.unread and (new, at) in b.unread
        if names[0] != names[1] and (fed or result or None in names):
            places = one.origin.place(f"top[{at}]"), two.origin.place(f"top[{at}]")
            yield FieldChange(f"top[{at}]", names[0], names[1], places[0], places[1])


# -- consequences ------------------------------------------------------------------------------------------------------

Key = tuple[str, int]


def _weigh(found: NetDiff, a: Graph, b: Graph, keys: dict[Key, Key]) -> None:
    mine, theirs = _nodes(a), _nodes(b)
    for key, node in mine.items():
        other = theirs.get(keys[key]) if key in keys else None
        if other is None or not node.top_shapes or not other.top_shapes:
            continue
        effect = Effect(node.name, node.top_shapes[0], other.top_shapes[0], _size(node), _size(other))
        if effect.old_shape[1:] != effect.new_shape[1:] or effect.old_params != effect.new_params:
            found.effects.append(effect)
    found.params = _total(a), _total(b)
    shapes = [{n.name: [ref.blob.shape for ref in n.params] for n in graph.nodes if n.params} for graph in (a, b)]
    found.weighted = len(shapes[0]), len(shapes[1])
    shared = [name for name in shapes[0] if name in shapes[1]]
    found.fitting = sum(shapes[0][name] == shapes[1][name] for name in shared)
    found.unfit = [name for name in shared if shapes[0][name] != shapes[1][name]]
    orders = [[n.name for n in graph.nodes if n.params and n.name in shared] for graph in (a, b)]
    found.reordered = found.same and orders[0] != orders[1]


def _nodes(graph: Graph) -> dict[Key, Node]:
    return {(node.name, node.layer.repeat): node for node in graph.nodes if not node.layer.copies_bottom}


def _size(node: Node) -> int:
    return sum(count(ref.blob.shape) for ref in node.params)


def _total(graph: Graph) -> int:
    return sum(count(ref.blob.shape) for _, _, ref in graph.own_params())


# -- solvers -----------------------------------------------------------------------------------------------------------

NETS = ("net", "net_param", "train_net", "test_net", "train_net_param", "test_net_param")


def compare_solvers(a: tuple[Any, Origin], b: tuple[Any, Origin], leave_out: Sequence[str] = ()) -> list[FieldChange]:
    """Two solvers of the current format, each with the origin of its fields."""
    tables = [
        {key: value for key, value in fields(param).items() if key.partition(".")[0] not in leave_out}
        for param, _ in (a, b)
    ]
    return list(changed_fields(tables[0], tables[1], (a[0], b[0]), (a[1], b[1])))
