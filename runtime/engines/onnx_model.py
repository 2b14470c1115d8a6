"""Layers as an ONNX model, written straight from the layer types (`Layer.onnx`), for the shapes of one graph.

The batch may have any size where no other size depends on it. Heights and widths are those of the graph, as engines are
fastest so, or (`free_size`) any: then the layers that round up, as Caffe's pooling does, compute their padding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.graph.ir import Graph, Node
from netc.layers.affine import Affine

OPSET = 20
IR = 10
Array = Any
ALIGNED = 1 << 12
"""Bytes: where an array begins in the file of weights, so that a runtime can map it."""


_TOPS = {"TopK": 2}
"""Operators with several results."""


class Op:
    """Adds nodes to a model: `op.Conv(x, w, strides=[2, 2])`. `program`, `any_size`: see `Layer.onnx`. `taken`: names
    of others."""

    def __init__(self, program: bool = False, taken: Collection[str] = (), any_size: bool = False) -> None:
        self.program, self.taken, self.any_size = program, taken, any_size or program
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self._count = 0

    def __getattr__(self, kind: str) -> Any:
        from onnx import helper

        def add(*inputs: str, outputs: int = _TOPS.get(kind, 1), **settings: Any) -> Any:
            names = [self._name(kind) for _ in range(outputs)]
            self.nodes.append(helper.make_node(kind, list(inputs), names, names[0], **settings))
            return tuple(names) if outputs > 1 else names[0]

        return add

    def numbers(self, value: Any) -> str:
        return self._constant(np.asarray(value, dtype="f4"))

    def ints(self, values: Iterable[int]) -> str:
        return self._constant(np.asarray(list(values), dtype="i8"))

    def _constant(self, array: Array) -> str:
        name = self._name("constant")
        self.constants[name] = array
        return name

    def _name(self, kind: str) -> str:
        self._count += 1
        name = f"{kind}_{self._count}"
        return name if name not in self.taken else self._name(kind)


def has_form(node: Node, arrays: Sequence[Array]) -> bool:
    """Whether a layer can be written for an engine: it is tried."""
    return tops_of(Op(), node, list(node.bottoms), list(map(str, range(len(arrays)))), arrays) is not None


def tops_of(
    op: Op, node: Node, bottoms: Sequence[str], params: Sequence[str], arrays: Sequence[Array]
) -> Sequence[str] | None:
    """A layer's tops in a model; None where it has no form."""
    try:
        return _tops(op, node, bottoms, params, arrays)
    except ImportError:
        raise
    except Exception:  # a plug-in's may do anything
        return None


def _tops(
    op: Op, node: Node, bottoms: Sequence[str], params: Sequence[str], arrays: Sequence[Array]
) -> Sequence[str] | None:
    layer, shapes = node.layer, node.bottom_shapes
    if layer.copies_bottom or layer.hands_on():
        return [bottoms[0]] * len(node.tops)
    written = layer.onnx(op, bottoms, params, shapes) if op.program else None
    if written is not None or (op.program and params):
        return written
    affine = layer.affine(arrays, shapes) if bottoms else ""
    if isinstance(affine, Affine):
        return [_affine(op, bottoms[0], affine, len(shapes[0]))]
    return layer.onnx(op, bottoms, params, shapes)


def _affine(op: Op, x: str, affine: Affine, axes: int) -> str:
    behind = [1] * (axes - 1 - affine.axis) if affine.axis is not None else []
    factor, summand = (array.reshape(-1, *behind) if behind else array for array in (affine.factor, affine.summand))
    y = op.Mul(x, op.numbers(factor)) if (affine.factor != 1).any() else x
    if affine.shifts:
        return str(op.Add(y, op.numbers(summand)))
    return str(y if y != x else op.Identity(x))


@dataclass(slots=True)
class Written:
    """`model`: the bytes of the model, the weights lying in a file of `weights_name` beside it, whose contents are
    `arrays` one after the other, each at a multiple of `ALIGNED`."""

    model: bytes
    arrays: list[Array]
    inputs: list[str]
    outputs: list[str]


def written(
    graph: Graph,
    weights: Mapping[str, Sequence[Array]],
    outputs: Sequence[str],
    free_batch: bool,
    file: str,
    free_size: bool = False,
) -> Written | None:
    """The graph as a model that gives `outputs`, in their order; None where a layer has no form (for any size)."""
    from onnx import TensorProto, helper

    op, values = Op(any_size=free_size), {}
    layout = Layout(file)
    for node in graph.nodes:
        if node.layer.is_input:
            values.update({top: top for top in node.tops})
            continue
        params = [
            layout.add(f"{node.name}.{ref.blob.name}", a) for ref, a in zip(node.params, weights.get(node.name, ()))
        ]
        tops = _tops(op, node, [values[b] for b in node.bottoms], params, weights.get(node.name, ()))
        if tops is None:
            return None
        values.update(zip(node.tops, tops, strict=True))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, _sizes(graph.shapes[name], free_batch, free_size))
        for name in graph.inputs
    ]
    names = [f"out_{place}" for place in range(len(outputs))]
    nodes = [*op.nodes, *(helper.make_node("Identity", [values[b]], [n]) for b, n in zip(outputs, names))]
    # a batch of any size: engines find the shapes of the outputs themselves
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    used = {name for node in nodes for name in node.input}
    constants = [layout.small(name, array) for name, array in op.constants.items()]
    tensors = [t for t in (*layout.tensors, *constants) if t.name in used]
    made = helper.make_graph(nodes, graph.name or "net", inputs, infos, tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="netc")
    return Written(model.SerializeToString(), layout.arrays, list(graph.inputs), names)


def _sizes(shape: Sequence[int], free_batch: bool, free_size: bool) -> list[Any]:
    named = ["batch", *shape[1:]] if free_batch and shape else list(shape)
    return [*named[:2], "height", "width"] if free_size else named


class Layout:
    """The arrays of a model: in a file beside it, or (`file` None) within it."""

    def __init__(self, file: str | None) -> None:
        self.file, self.at = file, 0
        self.tensors: list[Any] = []
        self.arrays: list[Array] = []
        self._seen: dict[str, None] = {}

    def add(self, name: str, array: Array) -> str:
        from onnx import TensorProto

        while name in self._seen:
            name += "_"
        self._seen[name] = None
        array = np.asarray(array, dtype="<f4", order="C")  # ascontiguousarray would give a scalar an axis
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        self.tensors.append(tensor)
        if self.file is None:
            tensor.raw_data = array.tobytes()
            return name
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.file), ("offset", self.at), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.arrays.append(array)
        self.at += -(-array.nbytes // ALIGNED) * ALIGNED
        return name

    def small(self, name: str, array: Array) -> Any:
        from onnx.numpy_helper import from_array

        return from_array(array, name)


def pieces(arrays: Sequence[Array]) -> Iterable[memoryview | bytes]:
    """The bytes of the file of weights."""
    for array in arrays:
        yield memoryview(array.reshape(-1)).cast("B") if array.size else b""
        yield bytes(-array.nbytes % ALIGNED)


def has_free_batch(small: Graph, large: Graph) -> bool:
    """Whether only the first axes differ between two sizes of the batch, all in the same ratio."""
    a, b = (
        max((shape[0] for name, shape in g.shapes.items() if name in g.inputs and shape), default=0)
        for g in (small, large)
    )
    if not a:
        return False
    return all(
        shape[1:] == large.shapes[name][1:] and bool(shape) and shape[0] * b == large.shapes[name][0] * a
        for name, shape in small.shapes.items()
    )
