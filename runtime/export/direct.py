"""A net as an ONNX model, written straight from the layer types (`Layer.onnx`) where all of them have a form.

The form is made for two sets of sizes, and taken only if it is the same: then no free size has become a number in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netc import __version__
from netc.errors import NetcError
from netc.files.sink import sink
from netc.graph.ir import Graph, Node
from netc.runtime.engines.onnx_model import IR, Layout, Op, pieces, tops_of
from netc.runtime.export.graphs import distinct_blobs
from netc.runtime.export.naming import AXES, OPSET, name_of
from netc.runtime.export.shapes import Axes
from netc.weights import Array
from netc.weights.card import CARD, Card
from netc.weights.keys import state_keys
from netc.weights.model import Model


def write_direct(path: Path, source: Model, graph: Graph, axes: Axes, card: Card, beside: str | None) -> bool:
    """Whether the model was written. `beside`: the file of the weights, None for within the model. Raises OSError."""
    try:
        small, large = (axes.compiled(shapes) for shapes in (axes.sample(), axes.other_sample()))
    except NetcError:  # it fits its own sizes and some others, but not all
        return False
    if not small.shapes.keys() == large.shapes.keys() == graph.shapes.keys():
        return False  # a state that the settings of the net do not say
    params = _Params(graph, source)
    form = _form(small, params) if graph.outputs else None
    if form is None or not form.is_as(_form(large, params)):
        return False
    model = _model(form, _Sizes(small, large, axes), params.layout(form.used(), beside))
    model.metadata_props.add(key=CARD, value=card.to_json())
    path.write_bytes(model.SerializeToString())
    if beside is not None:
        with sink(path.with_name(beside)) as file:
            for piece in pieces(params.written):
                file.write(piece)
    return True


class _Params:
    """The parameters under their keys, shared ones once: where a file has several arrays of one, the last counts."""

    def __init__(self, graph: Graph, source: Model) -> None:
        self.layers, self.arrays = source.layers(), dict(source.singles())
        self.keys: dict[tuple[int, int], str] = {}
        self.written: list[Array] = []
        for at, keys in state_keys(graph).items():
            for key, ref in zip(keys, graph.nodes[at].params, strict=True):
                if key in self.arrays and not self._has(self.keys.get(ref.owner), self.arrays[key]):
                    self.keys[ref.owner] = key

    def _has(self, key: str | None, array: Array) -> bool:
        return key is not None and self.arrays[key].tobytes() == array.tobytes()

    def of(self, op: Op, node: Node) -> list[str]:
        """The values of a node's parameters, each in its own shape."""
        found = []
        for ref in node.params:
            key = self.keys[ref.owner]
            same = self.arrays[key].shape == tuple(ref.blob.shape)
            found.append(key if same else op.Reshape(key, op.ints(ref.blob.shape)))
        return found

    def layout(self, used: set[str], beside: str | None) -> Layout:
        """The parameters that are read, as tensors."""
        layout = Layout(beside)
        for key in self.keys.values():
            if key in used:
                layout.add(key, self.arrays[key])
        self.written = layout.arrays
        return layout


@dataclass(slots=True)
class _Form:
    """The nodes of a model and the value of each blob. `copies`: value → its second name, an output's."""

    graph: Graph
    op: Op
    values: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    copies: list[tuple[str, str]] = field(default_factory=list)

    def is_as(self, other: _Form | None) -> bool:
        return other is not None and list(self._lines()) == list(other._lines())

    def _lines(self) -> Iterator[Any]:
        yield from (node.SerializeToString(deterministic=True) for node in self.op.nodes)
        yield from ((name, array.shape, array.tobytes()) for name, array in self.op.constants.items())

    def used(self) -> set[str]:
        return {name for node in self.op.nodes for name in node.input}

    def name_blobs(self) -> None:
        """Caffe's names for the values that blobs are. What has a name already is copied where it is an output too."""
        made = {name for node in self.op.nodes for name in node.output}
        for blob in distinct_blobs(self.graph):
            value, name = self.values[blob], name_of(self.graph, blob)
            if value in made and value not in self.names:
                self.names[value] = name
            elif blob in self.graph.outputs:
                self.copies.append((value, name))


def _form(graph: Graph, params: _Params) -> _Form | None:
    """None where a layer has no form."""
    taken = {*graph.inputs, *graph.shapes, *params.keys.values(), *(name_of(graph, blob) for blob in graph.outputs)}
    op = Op(program=True, taken=taken)
    form = _Form(graph, op, {name: name for name in graph.inputs})
    for node in graph.nodes:
        if node.layer.is_input:
            continue
        start, bottoms = len(op.nodes), [form.values[blob] for blob in node.bottoms]
        tops = tops_of(op, node, bottoms, params.of(op, node), params.layers.get(node.name, ()))
        if tops is None:
            return None
        form.values.update(zip(node.tops, tops, strict=True))
        for made in op.nodes[start:]:
            made.name = f"{node.name}/{made.output[0]}"
    form.name_blobs()
    return form


class _Sizes:
    """The shapes of blobs, free axes by name."""

    def __init__(self, small: Graph, large: Graph, axes: Axes) -> None:
        self.small, self.large, self.axes = small.shapes, large.shapes, axes
        self.inputs = list(small.inputs)

    def of_input(self, name: str) -> list[Any]:
        free = self.axes.free(name)
        return [self._name(name, axis) if axis in free else size for axis, size in enumerate(self.small[name])]

    def _name(self, name: str, axis: int) -> str:
        return AXES[axis] if axis == 0 or name == self._first else f"{AXES[axis]}_{name}"

    @property
    def _first(self) -> str:
        """The input that heights and widths are named by."""
        return next(name for name in self.inputs if len(self.small[name]) == len(AXES))

    def of_blob(self, name: str) -> list[Any]:
        """The batch keeps its name; what else changes has none."""
        first = next((name for name in self.inputs if self.small[name]), None)
        batches = first and (self.small[first][0], self.large[first][0])
        found: list[Any] = []
        for axis, sizes in enumerate(zip(self.small[name], self.large[name], strict=True)):
            is_batch = axis == 0 and self.axes.batch and sizes == batches
            found.append(AXES[0] if is_batch else sizes[0] if sizes[0] == sizes[1] else None)
        return found


def _model(form: _Form, sizes: _Sizes, layout: Layout) -> Any:
    from onnx import TensorProto, helper
    from onnx.numpy_helper import from_array

    def info(name: str, shape: Sequence[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes, graph = list(_renamed(form)), form.graph
    made = {name for node in nodes for name in node.output}
    needed = _needed(nodes, [name_of(graph, blob) for blob in graph.outputs])
    nodes = [node for node in nodes if not needed.isdisjoint(node.output)]
    read = {name for node in nodes for name in node.input}
    inner = [blob for blob in distinct_blobs(graph) if blob not in graph.outputs and blob in made and blob in read]
    tensors = [*layout.tensors, *(from_array(array, name) for name, array in form.op.constants.items())]
    done = helper.make_graph(
        nodes,
        graph.name or "net",
        [info(name, sizes.of_input(name)) for name in graph.inputs],
        [info(name_of(graph, blob), sizes.of_blob(blob)) for blob in graph.outputs],
        [tensor for tensor in tensors if tensor.name in read],
        value_info=[info(blob, sizes.of_blob(blob)) for blob in inner],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        done, opset_imports=opsets, ir_version=IR, producer_name="netc", producer_version=__version__
    )


def _renamed(form: _Form) -> Iterator[Any]:
    from onnx import helper

    def name(value: str) -> str:
        return form.names.get(value, value)

    for node in form.op.nodes:
        node.input[:] = [name(value) for value in node.input]
        node.output[:] = [name(value) for value in node.output]
        yield node
    for value, copy in form.copies:
        yield helper.make_node("Identity", [name(value)], [copy], copy)


def _needed(nodes: Sequence[Any], outputs: Sequence[str]) -> set[str]:
    """The values that the outputs depend on."""
    needed = set(outputs)
    for node in reversed(nodes):
        if not needed.isdisjoint(node.output):
            needed.update(node.input)
    return needed
