"""Which layers of two nets are the same one: by name, then by what they do and what they read.

wiring(layers) -> Wiring              the layers of one net, and who reads whom
match(a, b) -> {number in a: number in b}
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from netc.errors.origin import Origin
from netc.graph.edges import NOWHERE, Top, resolve
from netc.graph.filter import NAMES, Layers
from netc.look.diff.meaning import Table, settings


@dataclass(slots=True)
class Piece:
    """One layer: its settings, its sources, and its name with a count where the name repeats."""

    layer: Any
    origin: Origin
    key: tuple[str, int]
    table: Table
    reads: tuple[Top, ...]


@dataclass(slots=True)
class Wiring:
    pieces: list[Piece] = field(default_factory=list)
    unread: set[Top] = field(default_factory=set)
    """Tops that nothing reads: the outputs."""


def wiring(layers: Layers, training: bool = True) -> Wiring:
    """Of the layers of one phase, splits not inserted. Without `training`, what only training reads is left out."""
    found = Wiring(unread={(index, port) for index, one in enumerate(layers.params) for port in range(len(one.top))})
    names: dict[str, int] = defaultdict(int)
    edges, _ = resolve((layer.bottom[:], layer.top[:]) for layer in layers.params)
    for layer, origin, reads in zip(layers.params, layers.origins, edges, strict=True):
        table = settings(layer, training)
        if layer.HasField("phase") and layer.phase != layers.state.phase:
            table["phase"] = f"{NAMES[layer.phase]}, whatever the net's"
        found.pieces.append(Piece(layer, origin, (layer.name, names[layer.name]), table, tuple(reads)))
        names[layer.name] += 1
        found.unread.difference_update(reads)
    return found


def match(a: Wiring, b: Wiring) -> dict[int, int]:
    """Pairs by name and type; of the rest, pairs that do the same on the same; then pairs of one type that read the
    same, or whose readers do; last, pairs by name alone."""
    pairs: dict[int, int] = {}
    _pair_up(a, b, pairs, lambda piece, reads: (piece.key, piece.layer.type))
    _pair_up(a, b, pairs, lambda piece, reads: (piece.layer.type, _frozen(piece.table), reads))
    _pair_up(a, b, pairs, lambda piece, reads: (piece.layer.type, reads) if piece.reads else None)
    _pair_up(a, b, pairs, lambda piece, reads: piece.key)
    return pairs


def _pair_up(a: Wiring, b: Wiring, pairs: dict[int, int], sign: Any) -> None:
    """Pair the layers that are left and have the same sign, in order. Sources are given as numbers of `b`; as the
    layers come in order, a pair that is found counts for the layers below it."""
    taken = set(pairs.values())
    waiting: dict[Any, list[int]] = defaultdict(list)
    for index, piece in enumerate(b.pieces):
        key = sign(piece, piece.reads) if index not in taken else None
        if key is not None:
            waiting[key].append(index)
    for index, piece in enumerate(a.pieces):
        if index in pairs:
            continue
        reads = tuple(carried(source, pairs) for source in piece.reads)
        found = waiting.get(sign(piece, reads))
        if found:
            pairs[index] = found.pop(0)


def carried(source: Top, pairs: dict[int, int]) -> Top:
    """A source of `a` in numbers of `b`; layer -2 where that net has no such layer."""
    return source if source == NOWHERE else (pairs.get(source[0], -2), source[1])


def _frozen(table: Table) -> frozenset[tuple[str, str]]:
    return frozenset((key, repr(value)) for key, value in table.items())
