"""What a net does, node by node, with all that can be known before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from netc.graph.ir import Graph, Node
from netc.layers.base import Shape


@dataclass(slots=True)
class Step:
    """A node with what the walk needs precomputed."""

    node: Node
    params: list[tuple[nn.Module, str]]
    """The module and attribute that hold each parameter."""
    tops: tuple[str, ...]
    detached: tuple[bool, ...]
    no_grad: bool
    in_place: bool
    """In place, and torch's backward pass does not need what is overwritten."""
    over_fresh: bool
    """The first bottom is new memory that nothing else reads: without gradients it may be overwritten."""
    views: dict[int, Shape]
    """Parameters shared with a layer that gives them another shape (share_mode: PERMISSIVE): position → shape here."""

    def held(self) -> list[Tensor]:
        """The parameters as they are held, in the shape of their owner."""
        return [getattr(holder, name) for holder, name in self.params]

    def values(self) -> list[Tensor]:
        """The parameters as the layer sees them."""
        if not self.views:
            return self.held()
        return [t.view(self.views[i]) if i in self.views else t for i, t in enumerate(self.held())]


@dataclass(frozen=True, slots=True)
class Route:
    """What is run for the blobs that are wanted, and nothing else."""

    wanted: tuple[str, ...]
    steps: tuple[tuple[Step, tuple[str, ...], bool], ...]
    """In order, each with the blobs that nothing needs after it, and whether it may write over its first bottom where
    no gradients are recorded. Sources are not among them."""
    needed: tuple[str, ...]
    """The tops of sources that all this depends on."""


def route_to(steps: Sequence[Step], wanted: tuple[str, ...]) -> Route:
    """The steps that lead to the blobs wanted, or write a file."""
    alive, kept, needed = set(wanted), [], []
    for step in reversed(steps):
        if step.node.layer.is_source:
            needed.append([top for top in step.tops if top in alive])
        elif step.node.layer.effect or not alive.isdisjoint(step.tops):
            touched = dict.fromkeys((*step.node.bottoms, *step.tops))
            dead = tuple(blob for blob in touched if blob not in alive)
            kept.append((step, dead, step.over_fresh and (step.node.in_place or step.node.bottoms[0] in dead)))
            alive.difference_update(step.tops)
            alive.update(step.node.bottoms)
    return Route(wanted, tuple(reversed(kept)), tuple(top for tops in reversed(needed) for top in tops))


def plan(graph: Graph, holders: Mapping[int, nn.Module]) -> list[Step]:
    """The steps of a graph in order. `holders`: the module with the parameters of each node that has some."""
    return [
        Step(
            node,
            [(holders[index], ref.blob.name) for ref in node.params],
            node.top_names,
            _detached(node),
            node.layer.no_gradient is None,
            _overwrites(graph, index, node),
            _is_over_fresh(graph, index, node),
            _views(graph, node),
        )
        for index, node in enumerate(graph.nodes)
    ]


def _detached(node: Node) -> tuple[bool, ...]:
    """The bottoms that no gradient goes to."""
    layer, count = node.layer, len(node.bottoms)
    barred = range(count) if layer.no_gradient is None else [i % count for i in layer.no_gradient if i < count]
    down = layer.param.propagate_down
    return tuple(i in barred or (i < len(down) and not down[i]) for i in range(count))


def _overwrites(graph: Graph, index: int, node: Node) -> bool:
    """Whether a layer in place may write into its bottom's memory."""
    if not (node.in_place and hasattr(node.layer, "forward_in_place")):
        return False
    writer, _ = graph.edges.writers[index][0]
    return graph.nodes[writer].layer.overwritable


def _is_over_fresh(graph: Graph, index: int, node: Node) -> bool:
    """Whether the layer can work in place on new memory that no other layer, Splits included, reads."""
    if not (node.bottoms and hasattr(node.layer, "forward_in_place")):
        return False
    made = graph.edges.writers[index][0]
    return graph.nodes[made[0]].layer.fresh and len(graph.edges.uses[made]) == 1


def _views(graph: Graph, node: Node) -> dict[int, Shape]:
    """The shape here of parameters that have another one at their owner."""
    found = {}
    for position, ref in enumerate(node.params):
        owner, at = ref.owner
        if graph.nodes[owner].params[at].blob.shape != ref.blob.shape:
            found[position] = ref.blob.shape
    return found
