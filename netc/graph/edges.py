"""Who made what each layer reads, found once for a net.

A blob that a layer works on in place has several writers, one after the other, and a Split gives a blob further names.
A `Top` stands for one of these values, whatever its blob is called.

    resolve(layers) -> reads, last     of the bottoms and tops of any layers
    graph.edges -> Edges               of a graph (netc.graph.ir)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

Top = tuple[int, int]
"""(layer, position): what that layer made there."""

Bottom = tuple[int, int]
"""(layer, position): what that layer reads there."""

NOWHERE: Top = (-1, 0)
"""What a layer reads if no layer above makes it."""

Names = Sequence[str]


def resolve(
    layers: Iterable[tuple[Names, Names]], copies: Collection[int] = ()
) -> tuple[list[list[Top]], dict[str, Top]]:
    """For each layer, given its bottoms and tops, what its bottoms are: the tops of those that wrote the blobs last, in
    place or not. Then what each blob is in the end.

    `copies`: numbers of layers whose tops are their bottom; they stand for what they copy.
    """
    last: dict[str, Top] = {}
    found = []
    for index, (bottoms, tops) in enumerate(layers):
        reads = [last.get(blob, NOWHERE) for blob in bottoms]
        found.append(reads)
        if index in copies and reads:
            last.update(dict.fromkeys(tops, reads[0]))
        else:
            for position, blob in enumerate(tops):
                last[blob] = (index, position)
    return found, last


def readers_of(reads: Sequence[Sequence[Top]], without: Collection[int] = ()) -> dict[Top, list[Bottom]]:
    """The bottoms that are each top, given what `resolve` found; those of the layers `without` do not count."""
    readers: dict[Top, list[Bottom]] = {}
    for index, tops in enumerate(reads):
        for position, top in enumerate(tops if index not in without else ()):
            readers.setdefault(top, []).append((index, position))
    return readers
