"""What a layer says it is in ONNX, run by onnxruntime, is what its `forward` computes, for another batch too."""

from __future__ import annotations

import pytest
import torch

from netc.graph.ir import Node
from netc.layers import registry
from netc.runtime.engines.onnx_model import Op, has_form
from netc.runtime.net.conformance import Run, make, params, values
from tests.netc.layers.cases import CASES, TEST, Case

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

ALL = [(kind, case) for kind, cases in CASES.items() for case in cases if not registry()[kind].is_source]
FORMS = {
    "AbsVal BNLL BatchNorm Bias Clip Concat Convolution Deconvolution DepthwiseConvolution Dropout ELU Eltwise Exp",
    "Flatten InnerProduct LRN Log PReLU Permute Pooling Power ReLU ReLU6 Reshape Scale SeLu Sigmoid Slice Softmax",
    "Split Swish TanH",
}


def node_of(kind: str, case: Case) -> tuple[Node, list[torch.Tensor]]:
    layer, tops = make(kind, case)
    names = tuple(f"in{i}" for i in range(len(case.shapes)))
    shapes = tuple(map(tuple, case.shapes))
    return Node(layer, names, tuple(layer.param.top), shapes, tuple(map(tuple, tops))), params(layer, torch.float32)


@pytest.mark.parametrize("program", [False, True], ids=["engine", "program"])
@pytest.mark.parametrize("kind, case", ALL, ids=[f"{kind}-{CASES[kind].index(case)}" for kind, case in ALL])
def test_the_form_computes_what_the_layer_does(kind: str, case: Case, program: bool) -> None:
    from netc.runtime.engines import onnx_model

    node, own = node_of(kind, case)
    arrays = [tensor.numpy() for tensor in own]
    from onnx import helper
    from onnx.numpy_helper import from_array

    op = Op(program)
    names = [f"p{i}" for i in range(len(own))]
    tops = onnx_model.tops_of(op, node, list(node.bottoms), names, arrays)
    if tops is None:
        return
    floats = onnx.TensorProto.FLOAT
    nodes = [*op.nodes, *(helper.make_node("Identity", [top], [f"y{i}"]) for i, top in enumerate(tops))]
    tensors = [from_array(a, name) for name, a in (*zip(names, arrays), *op.constants.items())]
    shapes = [[None, *shape[1:]] if shape else [] for shape in case.shapes]
    inputs = [helper.make_tensor_value_info(name, floats, s) for name, s in zip(node.bottoms, shapes)]
    outputs = [helper.make_tensor_value_info(f"y{i}", floats, None) for i in range(len(tops))]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", onnx_model.OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = values(case, case.shapes, torch.float32)
    feeds = {name: x.numpy() for name, x in zip(node.bottoms, given) if name in {i.name for i in session.get_inputs()}}
    found = session.run(None, feeds)
    wanted = node.layer.forward(Run(case.phase != TEST), given, own)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(torch.from_numpy(mine), theirs, rtol=1e-4, atol=1e-5)


def test_the_usual_types_have_a_form() -> None:
    written = {kind for kind, case in ALL if has_form(*_with_arrays(kind, case))}
    assert set(" ".join(FORMS).split()) <= written


def _with_arrays(kind: str, case: Case) -> tuple[Node, list[object]]:
    node, own = node_of(kind, case)
    return node, [tensor.numpy() for tensor in own]
