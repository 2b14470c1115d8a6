"""Who made what each layer reads, found once for a net.

A blob that a layer works on in place has several writers, one after the other, and a Split gives a blob further names.
A `Top` stands for one of these values, whatever its blob is called.

    resolve(layers) -> reads, last     of the bottoms and tops of any layers
    graph.edges -> Edges               of a graph
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netc.graph.ir import Node

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


class Edges:
    """The edges of a graph.

    `writers[i][b]`: what bottom b of node i is. `makers[i][b]`: the same with copies left out, and `readers[top]`: the
    bottoms that read a top, directly or through copies. `last[blob]`: what a blob is in the end, copies left out.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        names = [(node.bottoms, node.tops) for node in nodes]
        copies = {index for index, node in enumerate(nodes) if node.layer.copies_bottom}
        self.nodes = nodes
        self.writers, _ = resolve(names)
        self.makers, self.last = resolve(names, copies)
        self.readers = readers_of(self.makers, copies)

    def maker(self, index: int, bottom: int = 0) -> Node | None:
        """The node that made a bottom of a node, copies left out; None where the node has no such bottom."""
        tops = self.makers[index]
        return self.nodes[tops[bottom][0]] if bottom < len(tops) else None

    def name(self, top: Top) -> str:
        """The name of the blob in which a top is made."""
        index, position = top
        return self.nodes[index].tops[position]

    def above(self, index: int, passing: Callable[[Node], bool]) -> Node | None:
        """The first node above bottom 0 that is not `passing`."""
        while self.makers[index]:
            index = self.makers[index][0][0]
            if not passing(self.nodes[index]):
                return self.nodes[index]
        return None
