"""The plan of a weight file for a whole net: it knows of sharing, of blobs that nothing reads, and of layer types."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from netc.errors import NetcError, Place, counted, printable
from netc.errors.remark import listed
from netc.graph.ir import Graph, Node
from netc.weights.match import Facts, Plan, Target, plan
from netc.weights.reader import read


def plan_for(graph: Graph, source: Any) -> Plan:
    """What `source` (a path, or {layer: arrays}) gives to a net, by layer name. `remarks` of the plan: what should be
    said of arrays that are likely not meant so.

    Raises NetcError W724 where no layer of the source is one of the net's that have parameters, and as `plan`.
    """
    weights = source if isinstance(source, Mapping) else read(os.fspath(source))
    nodes = _first_of_each_name(graph)
    target = {name: [(ref.blob.name, ref.blob.shape) for ref in node.params] for name, node in nodes.items()}
    result = plan(target, weights, facts_of(graph))
    if result.layers and not result.copies:
        raise _nothing_fits(target, weights)
    return result


def facts_of(graph: Graph) -> Facts:
    """What a plan asks about the net's parameters."""
    nodes = _first_of_each_name(graph)
    blobs = [((node.name, place), ref) for node in nodes.values() for place, ref in enumerate(node.params)]
    owners = {spot: (graph.nodes[ref.owner[0]].name, ref.owner[1]) for spot, ref in blobs}
    shared = {spot: owner for spot, owner in owners.items() if owner != spot}
    unread = frozenset(spot for spot, ref in blobs if ref.blob.unread)

    def other_count(name: str, count: int) -> str | None:
        return nodes[name].layer.other_count(count)

    def doubtful(name: str, arrays: Sequence[Any]) -> str | None:
        said = nodes[name].layer.doubtful(arrays)
        return said and f'layer "{printable(name)}" ({nodes[name].type}): {said}'

    kernels = frozenset(spot for spot, _ in blobs if spot[1] == 0 and nodes[spot[0]].layer.from_matrix)
    return Facts(shared, unread, other_count, doubtful, kernels)


def _first_of_each_name(graph: Graph) -> dict[str, Node]:
    """A file tells layers apart by their names; the first with parameters counts, as in pycaffe."""
    found: dict[str, Node] = {}
    for node in graph.nodes:
        if not found.setdefault(node.name, node).params:
            found[node.name] = node
    return found


def missing(fresh: Collection[str], layers: int, path: str) -> str | None:
    """What there is to say of layers with parameters for which the weights in `path` have none, of `layers` in all."""
    if not fresh:
        return None
    names = ", ".join(map(printable, fresh))
    keep = "it keeps what its fillers gave" if len(fresh) == 1 else "they keep what their fillers gave"
    have = "has" if len(fresh) == 1 else "have"
    return f"{len(fresh)} of {counted(layers, 'layer')} with parameters {have} no weights in {path}: {names}; {keep}"


def _nothing_fits(target: Target, weights: Mapping[str, Sequence[Any]]) -> NetcError:
    path = str(getattr(weights, "path", ""))
    mine = listed([name for name, blobs in target.items() if blobs])
    theirs = listed([name for name, arrays in weights.items() if arrays]) or "none"
    return NetcError(
        "W724",
        f"no layer with weights has the name of one in the net: the file has {theirs}, the net has {mine}",
        Place(path) if path else None,
        "give the weights of this net (layers go by their names, and `netc weights FILE` lists the file's)",
    )
