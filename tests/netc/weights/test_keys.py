"""The keys that are computed without torch are those that torch makes."""

from __future__ import annotations

import numpy as np
import pytest

from netc.graph.compile import compile_net
from netc.weights.keys import TAKEN, blob_names, module_names, state_keys

NETS = {
    "plain": """
        layer { name: "a/b" type: "Convolution" bottom: "x" top: "y"
          convolution_param { num_output: 2 kernel_size: 3 } }
        layer { name: "bn" type: "BatchNorm" bottom: "y" top: "z" }
        layer { name: "bn5" type: "BatchNorm" bottom: "y" top: "z4" batch_norm_param { scale_bias: true } }
        layer { name: "segnet" type: "BN" bottom: "y" top: "z5" bn_param { scale_filler { type: "constant" } } }
        layer { name: "sc" type: "Scale" bottom: "z" top: "z" scale_param { bias_term: true } }
        layer { name: "pr" type: "PReLU" bottom: "z" top: "z" }
        layer { name: "bi" type: "Bias" bottom: "z" top: "z" }
        layer { name: "up" type: "Deconvolution" bottom: "z" top: "up"
          convolution_param { num_output: 3 kernel_size: 2 bias_term: false } }
        layer { name: "ip" type: "InnerProduct" bottom: "up" top: "ip" inner_product_param { num_output: 5 } }
    """,
    "odd names": """
        layer { name: "conv.1" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 2 } }
        layer { name: "conv_1" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 3 } }
        layer { name: "train" type: "InnerProduct" bottom: "b" top: "c" inner_product_param { num_output: 4 } }
        layer { name: "train_" type: "InnerProduct" bottom: "c" top: "d" inner_product_param { num_output: 5 } }
        layer { name: "" type: "InnerProduct" bottom: "d" top: "e" inner_product_param { num_output: 6 } }
        layer { name: "train" type: "InnerProduct" bottom: "e" top: "f" inner_product_param { num_output: 7 } }
    """,
    "shared": """
        layer { name: "one" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { name: "b" }
          inner_product_param { num_output: 2 } }
        layer { name: "two" type: "InnerProduct" bottom: "x" top: "b" param { name: "w" } param { name: "b" }
          inner_product_param { num_output: 2 } }
    """,
}
INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 7 dim: 9 } } }'
SEQUENCE = """
    layer { name: "in" type: "Input" top: "x" top: "m" top: "s" input_param {
      shape { dim: 4 dim: 2 dim: 3 } shape { dim: 4 dim: 2 } shape { dim: 2 dim: 5 } } }
    layer { name: "l" type: "LSTM" bottom: "x" bottom: "m" top: "l" recurrent_param { num_output: 3 } }
    layer { name: "ls" type: "LSTM" bottom: "x" bottom: "m" bottom: "s" top: "ls" recurrent_param { num_output: 3 } }
    layer { name: "r" type: "RNN" bottom: "x" bottom: "m" top: "r" recurrent_param { num_output: 3 } }
    layer { name: "rs" type: "RNN" bottom: "x" bottom: "m" bottom: "s" top: "rs" recurrent_param { num_output: 3 } }
"""
TEXTS = [INPUT + text for text in NETS.values()] + [SEQUENCE]
IDS = [*NETS, "sequence"]


@pytest.mark.parametrize("text", TEXTS, ids=IDS)
def test_keys_are_those_of_the_state_dict(text: str) -> None:
    from netc.runtime.net.module import Net

    graph = compile_net(text, "TEST")
    keys = [key for keys in state_keys(graph).values() for key in keys]
    # torch lists a module's parameters before its buffers, and so do no two layers differ
    assert sorted(keys) == sorted(Net(graph).state_dict())
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("text", TEXTS, ids=IDS)
def test_a_layers_type_tells_the_names_of_its_blobs(text: str) -> None:
    for node in compile_net(text, "TEST").nodes:
        names = [ref.blob.name for ref in node.params]
        assert blob_names(node.type, len(names), len(node.bottoms)) == names


def test_names_that_a_module_cannot_have() -> None:
    names = module_names([(1, "conv.1"), (2, "conv_1"), (3, "train"), (5, ""), (7, "train"), (8, "a/b"), (9, "")])
    assert list(names.values()) == ["conv_1", "conv_1#2", "train_", "layer5", "train__", "a/b", "layer9"]


def test_every_attribute_of_a_net_of_ours_is_known() -> None:
    """torch's own may grow with its versions, which changes no key."""
    from torch import nn

    from netc.runtime.net.module import Net

    ours = set(dir(Net(compile_net(INPUT, "TEST")))) - set(dir(nn.Module()))
    assert {name for name in ours if not name.startswith("_")} - TAKEN == set()


def test_blobs_of_unknown_types_are_numbered() -> None:
    assert blob_names("Foreign", 4) == ["weight", "bias", "2", "3"]
    assert blob_names("Foreign", 1) == ["weight"]
    assert blob_names("Scale", 1, bottoms=2) == ["bias"]


@pytest.mark.parametrize("text", TEXTS, ids=IDS)
def test_a_state_dict_saved_by_itself_is_read_in_caffes_order(text: str, tmp_path) -> None:
    """Without a card: the keys alone."""
    from netc import weights

    graph = compile_net(text, "TEST")
    keys = state_keys(graph)
    arrays = {}
    for index, names in keys.items():
        for place, (key, ref) in enumerate(zip(names, graph.nodes[index].params)):
            arrays[key] = np.full(ref.blob.shape, place, "<f4")
    weights.write_safetensors(tmp_path / "x", dict(sorted(arrays.items())))
    for name, found in weights.read(tmp_path / "x").items():
        assert [int(array.flat[0]) for array in found] == list(range(len(found))), name
