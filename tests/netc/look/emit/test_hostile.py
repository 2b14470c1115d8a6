"""Names that are not identifiers, keywords, attributes of a module, code: they stay names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import netc
from netc.layers.code import quoted
from netc.look.emit import emit
from netc.runtime.net.module import Net
from tests.netc.look.emit.running import executed, results

NAMES = [
    "conv1.1",
    "inception_3a/1x1",
    "class",
    "match",
    "self",
    "x",
    "F",
    "torch",
    "nn",
    "Tensor",
    "forward",
    "train",
    "training",
    "parameters",
    "state_dict",
    "_modules",
    "__init__",
    "__private",
    "losses",
    "outputs",
    "BatchNorm",
    "max_pool",
    "1x1",
    "data.0",
    "",
    " ",
    "ﬁ",
    "名前",
    "it's",
    'say "hi"',
    "back\\slash",
    "two\nlines",
    'end"""\nimport os; os.abort()  # ',
    '"); raise SystemExit("gone")  # ',
    "#",
    "{0}",
    "%s",
    "a" * 300,
    "\u202egnp.x",
]


def prototxt(name: str) -> str:
    """A net whose net, layer and blob names are all the same, where Caffe lets them be."""
    text = "".join(f"\\{byte:03o}" for byte in name.encode())
    return f"""
    name: "{text}"
    layer {{ name: "in" type: "Input" top: "{text}_in" input_param {{ shape {{ dim: 2 dim: 3 dim: 5 dim: 4 }} }} }}
    layer {{ name: "{text}" type: "Convolution" bottom: "{text}_in" top: "{text}"
      convolution_param {{ num_output: 4 kernel_size: 3 }} }}
    layer {{ name: "{text}" type: "ReLU" bottom: "{text}" top: "{text}" }}
    layer {{ name: "{text}" type: "InnerProduct" bottom: "{text}" top: "{text}2"
      inner_product_param {{ num_output: 3 }} }}
    layer {{ name: "p" type: "Pooling" bottom: "{text}" top: "{text}3"
      pooling_param {{ kernel_size: 2 stride: 3 pad: 1 }} }}
    """


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_only_a_name(name: str) -> None:
    graph = netc.compile_net(prototxt(name), "TEST")
    emission = emit(graph)
    module = executed(emission.code, emission.class_name)()
    net = Net(graph)
    state = {key: torch.randn(tensor.shape) for key, tensor in net.state_dict().items()}
    net.load_state_dict(state)
    module.load_state_dict(state, strict=True)
    inputs = {graph.inputs[0]: torch.randn(2, 3, 5, 4)}
    with torch.no_grad():
        expected, found = net(**inputs), results(module, graph, inputs)
    assert list(found) == list(graph.outputs)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_hostile_file_name_is_only_a_name(tmp_path: Any) -> None:
    path = tmp_path / 'x"""; import os\nos.abort()#.prototxt'
    path.write_text(prototxt("a"))
    code = emit(netc.compile_net(path, "TEST"), file='y"""\n.py').code
    executed(code, "A")


def test_code_is_the_same_each_time() -> None:
    codes = {emit(netc.compile_net(prototxt(quoted("a'b")), "TEST")).code for _ in range(3)}
    assert len(codes) == 1


def test_values_keep_apart_whatever_their_blobs_are_called() -> None:
    """Blobs that become one identifier, a value that in-place layers replace, and one read long after."""
    text = """
    layer { name: "in" type: "Input" top: "a/b" top: "a.b" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "p1" type: "Power" bottom: "a/b" top: "a_b" power_param { scale: 2 } }
    layer { name: "p2" type: "Power" bottom: "a.b" top: "a-b" power_param { scale: 3 } }
    layer { name: "p3" type: "Power" bottom: "a-b" top: "a-b" power_param { shift: 1 } }
    layer { name: "p4" type: "Power" bottom: "a-b" top: "a-b" power_param { power: 2 } }
    layer { name: "s" type: "Eltwise" bottom: "a_b" bottom: "a-b" bottom: "x" bottom: "a_b" top: "sum" }
    layer { name: "t" type: "TanH" bottom: "x" top: "t" }
    """
    graph = netc.compile_net(text, "TEST")
    emission = emit(graph)
    a, b, x = torch.randn(3, 2, 3)
    found = executed(emission.code, "Net")()(a, b, x)
    assert torch.allclose(found["sum"], 4 * a + (3 * b + 1) ** 2 + x)
    assert torch.equal(found["t"], x.tanh())
