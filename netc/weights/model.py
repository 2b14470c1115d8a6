"""What there is to convert: a weight file, the net it belongs to, and each array under its key."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from netc import proto
from netc.errors import NetcError, Place, counted
from netc.graph.compile import compile_layers
from netc.graph.filter import Layers as NetLayers
from netc.graph.filter import phase_number
from netc.graph.ir import Graph, Node, ParamRef
from netc.graph.read import draft_net, unread_net
from netc.layers import Layer, registry
from netc.layers.base import Shape
from netc.passes.deploy import Deployed, deployed, state_layers
from netc.prototxt.draft import Draft
from netc.prototxt.source import may_be_binary
from netc.weights.arrays import Array, Weights, without_leading_ones
from netc.weights.asked import Asked, shapes_of
from netc.weights.card import Card, read_card
from netc.weights.files import map_file
from netc.weights.fitting import facts_of
from netc.weights.keys import blob_names, module_names, state_keys
from netc.weights.layers import read_net as read_own_net
from netc.weights.match import plan
from netc.weights.pieces import loaded
from netc.weights.reader import format_of, read

Layers = dict[str, list[Array]]

OLD_AXES = 4
"""Axes of every array in a file of 2014."""


class ModelLayer(NamedTuple):
    """One array: its key in `state_dict`, whose blob it is in Caffe's order, the values in its layer's shape, and the
    shape in `state_dict` where that is another (a parameter shared with a layer that gives it another one)."""

    key: str
    layer: str
    blob: int
    array: Array
    held: Shape | None = None

    @property
    def tensor(self) -> Array:
        """The values as `state_dict` has them."""
        return self.array if self.held is None else self.array.reshape(self.held)


@dataclass(slots=True)
class Model:
    """A weight file, read.

    Attributes:
        path: of the file. buffer: its bytes, mapped.
        weights: as the file has them. entries: the arrays to convert, views of the file.
        draft: the net without arrays, as given or as the file contains it; None where neither gives one.
        own: the net that the file contains, where another one is given.
        deploy: the layers of the net that a deployed net has; None where the net cannot be read.
        graph: these, compiled; None where they cannot be.
        reason: why there is no graph. card: what the file says of itself, if netc wrote it.
        given: whether the net was given, so that its layers are those that count.
        unused: layers of the file that the net has not, and how many arrays. remarks: what should be said of the rest.
        asked: which state of the net is meant.
    """

    path: str
    buffer: Any
    weights: Weights
    entries: list[ModelLayer] = field(default_factory=list)
    draft: Draft | None = None
    own: Draft | None = None
    deploy: Deployed | None = None
    graph: Graph | None = None
    reason: NetcError | None = None
    card: Card | None = None
    given: bool = False
    unused: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    asked: Asked = field(default_factory=Asked)

    @property
    def param(self) -> Any:
        """The net as a NetParameter of the current format; None where there is none."""
        return self.draft.param if self.draft is not None else None

    def definition(self) -> Any:
        """The net as it was read, data layers and all; where another state is asked for, its layers alone."""
        assert self.draft is not None
        net = proto.NetParameter()
        net.CopyFrom(self.draft.param)
        if not self.asked.plain:
            del net.layer[:]
            net.layer.extend(self.in_state().params)
        for layer in net.layer:
            for name in ("blobs", *(() if self.asked.plain else ("include", "exclude"))):
                layer.ClearField(name)
        return net

    def in_state(self) -> NetLayers:
        """The layers that the net has in the state that is asked for."""
        assert self.draft is not None
        asked = self.asked
        return state_layers(self.draft, phase_number(asked.phase), asked.level, asked.stages)

    def layers(self) -> Layers:
        """Layer name → its arrays in Caffe's order and the net's shapes."""
        found: Layers = {}
        for entry in self.entries:
            found.setdefault(entry.layer, []).append(entry.array)
        return found

    def singles(self) -> Iterator[tuple[str, Array]]:
        """Each array with its key, as the float32 that torch computes with."""
        return ((entry.key, entry.tensor.astype("<f4", copy=False)) for entry in self.entries)

    def computed(self) -> Iterator[tuple[str, Array]]:
        """The same of the layers that the compiled net has: a file may hold others (of training alone)."""
        names = {node.name for node in self.runnable().nodes}
        there = [entry for entry in self.entries if entry.layer in names]
        return ((entry.key, entry.tensor.astype("<f4", copy=False)) for entry in there)

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
        if self.reason is not None and self.reason.code in ("W763", "L307"):
            raise self.reason
        why = f": {self.reason.message}" if self.reason else ", and the file has none"
        hint = "is --shape that of the images that the net was trained on?" if self.asked.shapes else NEED
        raise NetcError("W763", f"the net itself is needed{why}", Place(self.path), hint)


NEED = "give the net with --net"


def open_model(path: str | os.PathLike[str], net: Any = None, buffer: Any = None, asked: Asked | None = None) -> Model:
    """Read a weight file (`buffer`: mapped already) and, if given, the net (path, text or NetParameter) whose layers
    count, in the state that is asked for.

    Without a net, every layer of the file that has arrays counts, and the file's own net, or its card's, is compiled
    if that is possible. Raises NetcError as `weights.read`, `compile_net`, `weights.plan`, and W764 (a layer without
    weights), W765 (two layers of one name with parameters).
    """
    name = os.fspath(path)
    buffer = map_file(name) if buffer is None else buffer
    source = Model(name, buffer, read(buffer), asked=asked or Asked())
    _make_floats(source.weights)
    source.card = read_card(buffer)
    if net is None:
        _use_own_net(source)
        source.entries = _by_file(source, source.weights)
    else:
        _use_net(source, net)
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
        ModelLayer(key, node.name, place, values[ref.owner].reshape(ref.blob.shape), _held(graph, ref))
        for index, node in nodes
        for place, (key, ref) in enumerate(zip(keys[index], node.params, strict=True))
    ]


def _held(graph: Graph, ref: ParamRef) -> Shape:
    """The shape that a net holds a parameter in: its owner's."""
    index, place = ref.owner
    return graph.nodes[index].params[place].blob.shape


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


# -- the net -----------------------------------------------------------------------------------------------------------


def _use_net(source: Model, net: Any) -> None:
    """The given net's layers count. One whose inputs are of unknown size is enough for formats of weights alone."""
    source.given, source.draft = True, draft_net(net)
    with suppress(NetcError):
        source.own = _own_draft(source)
    source.deploy = _deployed(source, own_phases=not (isinstance(net, str | os.PathLike) and may_be_binary(net)))
    if source.deploy.unknown:
        source.reason = _unknown(source, source.deploy.unknown)
        source.entries = _by_names(source, source.deploy.layers)
        return
    source.graph = compile_layers(source.deploy.layers)
    source.entries = _by_net(source, source.graph)


def _use_own_net(source: Model) -> None:
    """Set `draft` and `graph` from what the file says of its net; where that does not do, `reason`."""
    try:
        source.draft = _own_draft(source)
        if source.draft is not None:
            source.deploy = _deployed(source, own_phases=False)
            if source.deploy.unknown:
                raise _unknown(source, source.deploy.unknown)
            graph = compile_layers(source.deploy.layers)
            _by_net(source, graph)
            source.graph = graph
    except NetcError as error:
        source.reason = error
    source.unused = {}


def _own_draft(source: Model) -> Draft | None:
    """The net in the file, or in its card."""
    if source.card is not None:
        return unread_net(source.card.prototxt, source.path) if source.card.prototxt else None
    return unread_net(read_own_net(source.buffer), source.path) if format_of(source.buffer) == "caffemodel" else None


def _deployed(source: Model, own_phases: bool) -> Deployed:
    asked, layers = source.asked, source.in_state()
    learned = {name for name, arrays in source.weights.items() if arrays}
    return deployed(layers, learned, partial(shapes_of, asked=asked, layers=layers, weights=source.weights), own_phases)


def _unknown(source: Model, inputs: Sequence[str]) -> NetcError:
    """What is asked for is what nobody has said yet."""
    listed = " and ".join(f'"{name}"' for name in inputs)
    if len(inputs) == 1 and not source.asked.shapes:
        hint = "say how large its images are: --shape CHANNELS,HEIGHT,WIDTH"
    else:
        hint = f"say how large their records are: {' '.join(f'--shape {name}=…' for name in inputs)}"
    hint += "" if source.given else ", or give the net's deploy.prototxt with --net"
    where = Place(source.draft.path if source.given and source.draft is not None else source.path)
    noun = "input" if len(inputs) == 1 else "inputs"
    return NetcError("W763", f"the size of its {noun} {listed} is not known without the data", where, hint)


# -- the layers of a file ----------------------------------------------------------------------------------------------


def _by_names(source: Model, layers: NetLayers) -> list[ModelLayer]:
    """The arrays of a net that cannot be compiled: those of its layers, told by their names."""
    known = {param.name for param in layers.params}
    missing = [param.name for param in layers.params if _lacks_arrays(source.weights, param, layers)]
    if missing:
        raise _missing(source, dict.fromkeys(missing))
    arrays = {name: arrays for name, arrays in source.weights.items() if arrays}
    source.unused = {name: len(blobs) for name, blobs in arrays.items() if name not in known}
    return _by_file(source, {name: blobs for name, blobs in source.weights.items() if name in known})


def _lacks_arrays(weights: Weights, param: Any, layers: NetLayers) -> bool:
    """Whether a layer has no arrays in the file, where a layer of the same type and as many bottoms has some."""
    like = ((other.type, len(other.bottom)) for other in layers.params if weights.get(other.name))
    return not weights.get(param.name) and (param.type, len(param.bottom)) in set(like)


def _by_file(source: Model, weights: Mapping[str, Sequence[Array]]) -> list[ModelLayer]:
    types = {layer.name: layer for layer in source.param.layer} if source.param is not None else {}
    named = [(position, name) for position, (name, arrays) in enumerate(weights.items()) if arrays]
    modules = module_names(named)
    given = source.card.layers if source.card is not None else {}
    compiled = {node.name: node.params for node in source.graph.nodes} if source.graph else {}
    entries = []
    for position, name in named:
        arrays, layer = source.weights[name], types.get(name)
        params = compiled.get(name, [])
        blobs = [ref.blob.name for ref in params]
        if len(blobs) != len(arrays):
            params = []
            blobs = blob_names(layer.type, len(arrays), len(layer.bottom)) if layer else blob_names("", len(arrays))
        keys = given.get(name) or [f"{modules[position]}.{blob}" for blob in blobs]
        if len(keys) != len(arrays):
            raise _other_keys(source, f'layer "{name}" has {counted(len(arrays), "array")}, not {len(keys)}')
        for index, (key, blob) in enumerate(zip(keys, blobs, strict=True)):
            if (name, index) in source.weights.absent:
                raise _absent(source, name, index)
            shape = _shape(source.weights, layer.type if layer else None, name, index, blob)
            held = None
            if source.graph is not None and params:
                shape, held = params[index].blob.shape, _held(source.graph, params[index])
            entries.append(ModelLayer(key, name, index, arrays[index].reshape(shape), held))
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
        axes: int | None = 2 if set(shape[:-2]) == {1} else len(shape)
    else:
        axes = registry().get(type, Layer).weight_axes
        axes = len(shape) if axes == OLD_AXES else axes  # C3D's have five
    if blob.endswith("weight") and axes is not None:
        return shape[-axes:]
    return without_leading_ones(shape) or (1,)
