"""The weights of an emitted module: the arrays of a weight file under the keys of its state_dict."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from netc.errors import NetcError, Place, counted
from netc.ir import Graph, Node
from netc.naming import module_names
from netc.weights import Array, Plan, plan, read


def state(graph: Graph, path: str | os.PathLike[str]) -> dict[str, Array]:
    """Key → array (float32, a view of the file where that has it so) for every parameter of the net, shared ones under
    each of their keys.

    Raises NetcError L392 (layers that the file lacks), L393 (two layers with parameters under one name), and those of
    `netc.weights.read` and `plan`.
    """
    nodes = [(index, node) for index, node in enumerate(graph.nodes) if node.params]
    _check_names([node for _, node in nodes])
    found = _plan(graph, path)
    owners = {(node.name, place): ref.owner for _, node in nodes for place, ref in enumerate(node.params)}
    values = {owners[copy.layer, copy.index]: copy.array for copy in found.copies}
    names = module_names(graph)
    return {
        f"{names[index]}.{ref.blob.name}": np.asarray(values[ref.owner], "<f4")
        for index, node in nodes
        for ref in node.params
    }


def _plan(graph: Graph, path: str | os.PathLike[str]) -> Plan:
    target = {node.name: [(ref.blob.name, ref.blob.shape) for ref in node.params] for node in graph.nodes}
    shared = {
        (node.name, place)
        for index, node in enumerate(graph.nodes)
        for place, ref in enumerate(node.params)
        if ref.owner != (index, place)
    }
    found = plan(target, read(os.fspath(path)), shared)
    if found.fresh:
        listed = ", ".join(f'"{name}"' for name in list(found.fresh)[:5]) + (", …" if len(found.fresh) > 5 else "")
        message = f"the file has no weights for {counted(len(found.fresh), 'layer')} of the net: {listed}"
        raise NetcError("L392", message, Place(os.fspath(path)), "is this the net that the file was trained as?")
    return found


def _check_names(nodes: list[Node]) -> None:
    names = Counter(node.name for node in nodes)
    twice = next((node for node in nodes if names[node.name] > 1), None)
    if twice is not None:
        message = (
            f'{names[twice.name]} layers with parameters are called "{twice.name}", and a weight file goes by names'
        )
        raise NetcError("L393", message, twice.place, "give each of them a name of its own")


def safetensors(tensors: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file of float32 arrays, piece by piece."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key, array in tensors.items():
        start, end = end, end + array.size * 4
        table[key] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [start, end]}
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    yield len(header).to_bytes(8, "little")
    yield header
    for array in tensors.values():
        if array.size:
            yield np.ascontiguousarray(array).reshape(-1).view("u1").data
