"""What the inputs of a net mean, as their readers tell: whole numbers (labels, indices, marks), or anything.

An input is traced to its readers through the layers that only pass values on (Split, Reshape, Slice, Concat, …).
"""

from __future__ import annotations

from collections.abc import Iterator

from netc.graph.edges import Top
from netc.graph.ir import Graph, Node

Counts = tuple[int, ...]
"""How many whole numbers from 0 a value may be: one count for all values, or one for each value of a row."""


def whole_inputs(graph: Graph) -> dict[str, Counts]:
    """Input → the counts of the whole numbers that it holds. Inputs of pixels, features, … are not in it. Where several
    layers read one input, its values suit all of them."""
    found: dict[str, Counts] = {}
    for node, makers in zip(graph.nodes, graph.edges.makers, strict=True):
        for place, counts in node.layer.whole_numbers(node.bottom_shapes).items():
            for top, in_order in _origins(graph, makers[place]):
                mine = tuple(counts) if in_order else (min(counts),)
                name = graph.edges.name(top)
                found[name] = _both(found.get(name, mine), mine)
    return found


def _origins(graph: Graph, top: Top) -> Iterator[tuple[Top, bool]]:
    """The inputs whose values a top holds, and whether it has them in their order."""
    waiting, seen = [(top, True)], set()
    while waiting:
        (index, position), in_order = found = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        node = graph.nodes[index]
        if node.layer.is_input:
            yield found
        in_order = in_order and node.layer.keeps_values
        waiting += [(graph.edges.makers[index][place], in_order) for place in _passed(node, position)]


def _passed(node: Node, top: int) -> range:
    """The bottoms whose values a top of a node holds."""
    if node.layer.drops_values and node.layer.phase == 1:
        return range(1)
    places = range(len(node.bottoms))[node.layer.passes]
    return places[top : top + 1] if len(places) == len(node.tops) else places


def _both(one: Counts, other: Counts) -> Counts:
    if len(one) == len(other):
        return tuple(map(min, one, other))
    return (min(*one, *other),)
