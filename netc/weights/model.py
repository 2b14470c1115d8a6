"""What there is to convert: a weight file, the net it belongs to, and each array under its key."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from netc.errors import NetcError, Place, counted
from netc.graph.compile import compile_net
from netc.graph.ir import Graph, Node
from netc.graph.read import read_net
from netc.layers import Layer, registry
from netc.layers.base import Shape
from netc.passes.deploy import deployed, unknown_input
from netc.weights.arrays import Array, Weights, without_leading_ones
from netc.weights.card import Card, read_card
from netc.weights.files import map_file
from netc.weights.fitting import facts_of
from netc.weights.keys import blob_names, module_names, state_keys
from netc.weights.layers import read_net as read_own_net
from netc.weights.match import plan
from netc.weights.pieces import loaded
from netc.weights.reader import format_of, read

Layers = dict[str, list[Array]]


class ModelLayer(NamedTuple):
    """One array: its key in `state_dict`, whose blob it is in Caffe's order, and the values in the net's shape."""

    key: str
    layer: str
    blob: int
    array: Array


@dataclass(slots=True)
class Model:
    """A weight file, read.

    Attributes:
        path: of the file. buffer: its bytes, mapped.
        weights: as the file has them. entries: the arrays to convert, views of the file.
        param: NetParameter in the current format, without arrays, as given or as the file contains it; None where
            neither gives one.
        graph: that net compiled for the TEST phase, data layers replaced by Input layers; None where it cannot be.
        reason: why there is no graph. card: what the file says of itself, if netc wrote it.
        given: whether the net was given, so that its layers are those that count.
        unused: layers of the file that the net has not, and how many arrays. remarks: what should be said of the rest.
        shapes: of the images that data layers read, as `deployed` takes them.
    """

    path: str
    buffer: Any
    weights: Weights
    entries: list[ModelLayer] = field(default_factory=list)
    param: Any = None
    graph: Graph | None = None
    reason: NetcError | None = None
    card: Card | None = None
    given: bool = False
    unused: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    def layers(self) -> Layers:
        """Layer name → its arrays in Caffe's order and the net's shapes."""
        found: Layers = {}
        for entry in self.entries:
            found.setdefault(entry.layer, []).append(entry.array)
        return found

    def singles(self) -> Iterator[tuple[str, Array]]:
        """Each array with its key, as the float32 that torch computes with."""
        return ((entry.key, entry.array.astype("<f4", copy=False)) for entry in self.entries)

    def keys(self) -> dict[str, list[str]]:
        """Layer name → the keys of its blobs."""
        found: dict[str, list[str]] = {}
        for entry in self.entries:
            found.setdefault(entry.layer, []).append(entry.key)
        return found

    def runnable(self) -> Graph:
        """The compiled net. Raises NetcError W763 where there is none."""
        if self.graph is not None:
            return self.graph
        why = f": {self.reason.message}" if self.reason else ""
        hint = self.reason.hint if self.reason and self.reason.code == "W763" else NEED
        raise NetcError("W763", f"the net itself is needed, and the file does not give it{why}", Place(self.path), hint)


NEED = "give the net's deploy.prototxt with --net"


def open_model(
    path: str | os.PathLike[str], net: Any = None, buffer: Any = None, shapes: Mapping[str, Shape] | None = None
) -> Model:
    """Read a weight file (`buffer`: mapped already) and, if given, the net (path, text or NetParameter) whose layers
    count. `shapes`: of the images that its data layers read, as `deployed` takes them.

    Without a net, every layer of the file that has arrays counts, and the file's own net, or its card's, is compiled
    if that is possible. Raises NetcError as `weights.read`, `compile_net`, `weights.plan`, and W764 (a layer without
    weights), W765 (two layers of one name with parameters).
    """
    name = os.fspath(path)
    buffer = map_file(name) if buffer is None else buffer
    source = Model(name, buffer, read(buffer), shapes=shapes or {})
    _make_floats(source.weights)
    source.card = read_card(buffer)
    if net is not None:
        source.given, source.param = True, read_net(net)
        source.graph = _compiled(source)
        source.entries = _by_net(source, source.graph)
    else:
        _own_net(source)
        source.entries = _by_file(source)
    return source


def open_for(graph: Graph, path: str | os.PathLike[str]) -> Model:
    """Read a weight file for a net that is compiled already. Raises NetcError as `open_model` with a net."""
    name = os.fspath(path)
    buffer = map_file(name)
    model = Model(name, buffer, read(buffer), graph=graph, given=True)
    _make_floats(model.weights)
    model.entries = _by_net(model, graph)
    return model


def _make_floats(found: Weights) -> None:
    """Whole numbers, which NVIDIA's fork can store, count as the float32 values that a net would take them for."""
    for arrays in found.values():
        arrays[:] = [array if array.dtype.kind == "f" else loaded(array) for array in arrays]


# -- the layers of a net -----------------------------------------------------------------------------------------------


def _by_net(source: Model, graph: Graph) -> list[ModelLayer]:
    nodes = [(index, node) for index, node in enumerate(graph.nodes) if node.params]
    _refuse_repeated(graph, nodes)
    target = {node.name: [(ref.blob.name, ref.blob.shape) for ref in node.params] for _, node in nodes}
    without: dict[str, list[tuple[str, Shape]]] = {node.name: [] for node in graph.nodes if not node.params}
    found = plan(without | target, source.weights, facts_of(graph))
    if found.fresh:
        raise _missing(source, found.fresh)
    source.unused, source.remarks = found.unused, found.remarks
    owner_of = {(node.name, place): ref.owner for _, node in nodes for place, ref in enumerate(node.params)}
    values = {owner_of[copy.layer, copy.index]: copy.array for copy in found.copies}  # of shared ones, the last counts
    keys = state_keys(graph)
    unread = [(ref, ref.blob) for _, node in nodes for ref in node.params if ref.blob.unread]
    values = {ref.owner: np.resize(blob.start or 0, blob.shape).astype("f4") for ref, blob in unread} | values
    return [
        ModelLayer(key, node.name, place, values[ref.owner])
        for index, node in nodes
        for place, (key, ref) in enumerate(zip(keys[index], node.params, strict=True))
    ]


def _refuse_repeated(graph: Graph, nodes: Sequence[tuple[int, Node]]) -> None:
    names = Counter(node.name for _, node in nodes)
    twice = next((node for _, node in nodes if names[node.name] > 1), None)
    if twice is not None:
        raise NetcError(
            "W765",
            f'{counted(names[twice.name], "layer")} with parameters are called "{twice.name}", '
            "and a weight file tells layers apart by their names alone",
            twice.place,
            "give each layer with parameters a name of its own",
        )


def _missing(source: Model, fresh: Mapping[str, Any]) -> NetcError:
    listed = ", ".join(f'"{name}"' for name in list(fresh)[:5]) + (", …" if len(fresh) > 5 else "")
    hint = "is this the net that the file was trained as? `netc weights FILE` lists the layers it has"
    message = f"the file has no weights for {counted(len(fresh), 'layer')} of the net: {listed}"
    return NetcError("W764", message, Place(source.path), hint)


# -- the layers of a file ----------------------------------------------------------------------------------------------


def _own_net(source: Model) -> None:
    """Set `param` and `graph` from what the file says of its net; where that does not do, `reason`."""
    try:
        if source.card is not None:
            source.param = read_net(source.card.prototxt) if source.card.prototxt else None
        elif format_of(source.buffer) == "caffemodel":
            source.param = read_net(read_own_net(source.buffer))
        if source.param is not None:
            graph = _compiled(source)
            _by_net(source, graph)
            source.graph = graph
    except NetcError as error:
        source.reason = error
    source.unused = {}


def _compiled(source: Model) -> Graph:
    net = deployed(source.param, source.weights, source.shapes)
    unknown = unknown_input(net)
    if unknown is not None:
        message = f'the size of its input "{unknown}" is not known'
        raise NetcError(
            "W763",
            message,
            Place(source.path),
            NEED + ", or the shape of its images with --shape CHANNELS,HEIGHT,WIDTH",
        )
    return compile_net(net, "TEST")


def _by_file(source: Model) -> list[ModelLayer]:
    types = {layer.name: layer for layer in source.param.layer} if source.param is not None else {}
    named = [(position, name) for position, (name, arrays) in enumerate(source.weights.items()) if arrays]
    modules = module_names(named)
    given = source.card.layers if source.card is not None else {}
    compiled = (
        {node.name: [ref.blob.name for ref in node.params] for node in source.graph.nodes} if source.graph else {}
    )
    entries = []
    for position, name in named:
        arrays, layer = source.weights[name], types.get(name)
        blobs = compiled.get(name, [])
        if len(blobs) != len(arrays):
            blobs = blob_names(layer.type, len(arrays), len(layer.bottom)) if layer else blob_names("", len(arrays))
        keys = given.get(name) or [f"{modules[position]}.{blob}" for blob in blobs]
        if len(keys) != len(arrays):
            raise _other_keys(source, f'layer "{name}" has {counted(len(arrays), "array")}, not {len(keys)}')
        for index, (key, blob) in enumerate(zip(keys, blobs, strict=True)):
            if (name, index) in source.weights.absent:
                raise _absent(source, name, index)
            shape = _shape(source.weights, layer.type if layer else None, name, index, blob)
            entries.append(ModelLayer(key, name, index, arrays[index].reshape(shape)))
    if len({entry.key for entry in entries}) < len(entries):
        raise _other_keys(source, "two of them are called the same")
    return entries


def _other_keys(source: Model, why: str) -> NetcError:
    message = f"the card in this file does not list the arrays that it has: {why}"
    return NetcError("W761", message, Place(source.path), NEED)


def _absent(source: Model, name: str, index: int) -> NetcError:
    message = f'layer "{name}" shares its blob {index} with another layer, which the file does not name'
    return NetcError("W763", message, Place(source.path), NEED)


def _shape(weights: Weights, type: str | None, name: str, index: int, blob: str) -> Shape:
    """The array's shape; four axes of 2014 become those that the layer has today: a matrix, or a vector."""
    shape: Shape = weights[name][index].shape
    if (name, index) not in weights.legacy:
        return shape
    if type is None:  # kernels have a height and a width, matrices have neither
        axes: int | None = 2 if shape[:2] == (1, 1) else 4
    else:
        axes = registry().get(type, Layer).weight_axes
    if blob.endswith("weight") and axes is not None:
        return shape[-axes:]
    return without_leading_ones(shape) or (1,)
