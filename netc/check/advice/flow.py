"""Who makes what a layer reads: the edges of a graph, with the copies that Split layers make left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from netc.graph.ir import Graph, Node

TRAIN, TEST = 0, 1


@dataclass(slots=True)
class Flow:
    """`sources[i][b]`: index of the node that wrote bottom b of node i last, in-place writers included; Splits stand
    for the node above them. `readers[i]`: the nodes that read a top of node i."""

    graph: Graph
    sources: list[list[int]] = field(default_factory=list)
    readers: list[list[int]] = field(default_factory=list)

    def source(self, index: int, bottom: int = 0) -> Node | None:
        found = self.sources[index]
        return self.graph.nodes[found[bottom]] if bottom < len(found) else None

    def above(self, index: int) -> Node | None:
        """The first node above bottom 0 that does more than reshape."""
        while self.sources[index]:
            index = self.sources[index][0]
            if not self.graph.nodes[index].layer.keeps_values:
                return self.graph.nodes[index]
        return None


def flow(graph: Graph) -> Flow:
    """The edges of a graph."""
    found = Flow(graph)
    writer: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        found.sources.append([writer[blob] for blob in node.bottoms])
        found.readers.append([])
        for source in found.sources[-1] if node.type != "Split" else ():
            found.readers[source].append(index)
        writer.update((top, found.sources[-1][0] if node.type == "Split" else index) for top in node.tops)
    return found


def trains(graph: Graph) -> bool:
    """A TRAIN net with a loss."""
    return graph.phase == TRAIN and any(any(node.loss_weights) for node in graph.nodes)
