"""safetensors against the library's own writer, and headers made to hurt."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save, save_file

import netc
from netc import weights
from netc.errors import NetcError
from netc.layers import registry
from netc.weights.formats.safetensors import BLOBS_KEY
from netc.weights.keys import all_blob_names, in_caffes_order

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 7 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "a/norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "scale" scale_param { bias_term: true } }
layer { name: "bias" type: "Bias" bottom: "scale" top: "shifted" }
layer { name: "slope" type: "PReLU" bottom: "shifted" top: "out" }
"""


def raw(header, data=b""):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return len(text).to_bytes(8, "little") + text + data


def entry(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_the_state_of_a_net_comes_back(tmp_path):
    """The library sorts tensors by name: "bias" before "weight", "factor" before "mean"."""
    net = netc.load_net(NET)
    with torch.no_grad():
        for number, tensor in enumerate(t for tensors in net.params.values() for t in tensors):
            tensor += number
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    path = tmp_path / "net.safetensors"
    save_file(state, path, metadata={"netc": '{"card": 1}', "format": "pt"})
    found = weights.read(path)
    assert found.metadata == {"netc": '{"card": 1}', "format": "pt"}
    other = netc.load_net(NET)
    plan = other.copy_from(path)
    assert (set(plan.copied), plan.fresh, plan.unused) == (set(net.params), {}, {})
    for name, tensors in net.params.items():
        assert all(torch.equal(a, b) for a, b in zip(tensors, other.params[name], strict=True))


def test_the_names_of_all_types_blobs_are_known_in_their_order():
    """Every name that a class of netc.layers gives a blob, found by compiling a layer of each type that learns."""
    learned = {
        "Convolution": "convolution_param { num_output: 2 kernel_size: 1 }",
        "Deconvolution": "convolution_param { num_output: 2 kernel_size: 1 }",
        "InnerProduct": "inner_product_param { num_output: 2 }",
        "Embed": "embed_param { num_output: 2 input_dim: 9 }",
        "BatchNorm": "",
        "Scale": "scale_param { bias_term: true }",
        "Bias": "",
        "PReLU": "",
        "Parameter": "parameter_param { shape { dim: 3 } }",
        "LSTM": "recurrent_param { num_output: 2 }",
        "RNN": "recurrent_param { num_output: 2 }",
    }
    assert set(learned) <= set(registry())
    for kind, settings in learned.items():
        recurrent = kind in ("LSTM", "RNN")
        shapes = [(3, 4, 5), (3, 4)] + [(4, 6)] * recurrent if recurrent else [(3, 4, 5, 6)]
        inputs = "".join(
            f'layer {{ name: "{i}" type: "Input" top: "{i}" input_param {{ shape {{ {dims(shape)} }} }} }}\n'
            for i, shape in enumerate(shapes)
        )
        bottoms = "" if kind == "Parameter" else "".join(f'bottom: "{i}" ' for i in range(len(shapes)))
        graph = netc.compile_net(f'{inputs}layer {{ name: "x" type: "{kind}" {bottoms} top: "x" {settings} }}')
        names = [ref.blob.name for node in graph.nodes for ref in node.params]
        assert names, kind
        assert set(names) <= set(all_blob_names()), kind
        assert len(names) == 1 or in_caffes_order(reversed(names)) == names, kind


def dims(shape):
    return " ".join(f"dim: {dim}" for dim in shape)


def test_arrays_are_views_of_every_type_of_float(tmp_path):
    values = np.array([[1.5, -2, 3]])
    arrays = {f"{kind}.0": values.astype(kind) for kind in ("f2", "f4", "f8")}
    bfloat = torch.tensor(values, dtype=torch.bfloat16)
    header = {"b.0": entry([1, 3], 0, 6, "BF16")}
    assert np.array_equal(weights.read(raw(header, bytes(bfloat.untyped_storage())))["b"][0], values)
    path = tmp_path / "x.safetensors"
    save_file(arrays, path)
    for name, (array,) in weights.read(path).items():
        assert array.dtype == name
        assert np.array_equal(array, values)
        assert not array.flags.owndata


def test_the_metadata_says_which_blob_a_tensor_is():
    """A dot in a layer's name is an underscore in its module's."""
    table = {"a_b.weight": ["a.b", 0], "a_b.what": ["a.b", 1]}
    header = {
        "__metadata__": {BLOBS_KEY: json.dumps(table)},
        "a_b.what": entry([1], 0, 4),
        "a_b.weight": entry([2], 4, 12),
    }
    found = weights.read(raw(header, np.array([1, 2, 3], "<f4").tobytes()))
    assert {name: [array.tolist() for array in arrays] for name, arrays in found.items()} == {"a.b": [[2, 3], [1]]}


def code_of(data):
    with pytest.raises(NetcError) as caught:
        weights.read(data)
    return caught.value.code


REFUSED = {
    "not JSON": ("W702", raw(b"{nothing")),
    "too deep": ("W702", raw(b'{"a":' * 100_000)),
    "no table": ("W702", raw(b'{"a.0": 3}')),
    "a key twice": ("W702", raw(b'{"a.0": 1, "a.0": 1}')),
    "a hole": ("W702", raw({"a.0": entry([1], 0, 4), "a.1": entry([1], 8, 12)}, bytes(12))),
    "over each other": ("W702", raw({"a.0": entry([1], 0, 4), "a.1": entry([1], 0, 4)}, bytes(4))),
    "beyond the end": ("W702", raw({"a.0": entry([2], 0, 8)}, bytes(4))),
    "more than there is": ("W702", raw({"a.0": entry([2**40], 0, 2**42)}, bytes(4))),
    "something left over": ("W702", raw({"a.0": entry([1], 0, 4)}, bytes(8))),
    "negative": ("W702", raw({"a.0": entry([-1, -1], 0, 4)}, bytes(4))),
    "a shape of words": ("W702", raw({"a.0": entry(["x"], 0, 4)}, bytes(4))),
    "true for 1": ("W702", raw({"a.0": entry([True], 0, 4)}, bytes(4))),
    "metadata of numbers": ("W702", raw({"__metadata__": {"a": 1}, "a.0": entry([1], 0, 4)}, bytes(4))),
    "a bad table of blobs": ("W702", raw({"__metadata__": {BLOBS_KEY: "[1]"}, "a.0": entry([1], 0, 4)}, bytes(4))),
    "whole numbers": ("W741", raw({"a.0": entry([1], 0, 8, "I64")}, bytes(8))),
    "another key": ("W706", raw({"a.running_mean": entry([1], 0, 4)}, bytes(4))),
    "a blob missing": ("W706", raw({"a.0": entry([1], 0, 4), "a.2": entry([1], 4, 8)}, bytes(8))),
    "a number and a name": ("W706", raw({"a.0": entry([1], 0, 4), "a.weight": entry([1], 4, 8)}, bytes(8))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    code, data = REFUSED[name]
    assert code_of(data) == code


def test_a_header_larger_than_any(monkeypatch):
    monkeypatch.setattr("netc.weights.formats.safetensors.MAX_HEADER", 10)
    assert code_of(save({"a.0": np.ones(1, "f4")})) == "W702"


@pytest.mark.parametrize("kind", ["<i4", "u1", "<c8", "?"])
def test_what_is_no_float_is_not_written_as_one(tmp_path, kind):
    with pytest.raises(TypeError, match='"a"'):
        weights.write_safetensors(tmp_path / "x", {"a": np.zeros(2, kind)})
