"""The net that training wrote, made ready to be run: no data, no labels, Splits only where they are still needed."""

from __future__ import annotations

import numpy as np

from netc import compile_net
from netc.passes.deploy import deployed, unknown_input

NET = """
layer { name: "mnist" type: "Data" top: "data" top: "label" data_param { batch_size: 8 }
  transform_param { crop_size: 6 } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "c2" type: "Convolution" bottom: "data" top: "c2" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "e" type: "Eltwise" bottom: "c1" bottom: "c2" top: "e" }
layer { name: "f" type: "InnerProduct" bottom: "e" top: "f" inner_product_param { num_output: 5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "label" top: "loss" }
layer { name: "acc" type: "Accuracy" bottom: "f" bottom: "label" top: "acc" include { phase: TRAIN } }
layer { name: "p" type: "Softmax" bottom: "f" top: "p" }
"""


def test_a_training_net_with_its_splits() -> None:
    """The convolutions, which tell the channels, read the data through a Split; the scores keep one reader of three."""
    written = compile_net(NET, "TRAIN", probe=lambda layer, phase: [(8, 1, 6, 6), (8,)]).param
    assert [layer.name for layer in written.layer if layer.type == "Split"] == [
        *("data_mnist_0_split", "label_mnist_1_split", "f_f_0_split"),
    ]
    before = written.SerializeToString(deterministic=True)
    net = deployed(written, {"c1": [np.zeros((2, 1, 3, 3))]})
    assert written.SerializeToString(deterministic=True) == before
    assert unknown_input(net) is None
    assert [(layer.name, list(layer.bottom), list(layer.top)) for layer in net.layer] == [
        ("data", [], ["data"]),
        ("c1", ["data"], ["c1"]),
        ("c2", ["data"], ["c2"]),
        ("e", ["c1", "c2"], ["e"]),
        ("f", ["e"], ["f"]),
        ("p", ["f"], ["p"]),
    ]
    graph = compile_net(net, "TEST")
    assert [node.name for node in graph.nodes][:2] == ["data", "data_data_0_split"]
    assert (graph.shapes["data"], graph.outputs) == ((1, 1, 6, 6), ("p",))


def test_a_net_with_inputs_stays() -> None:
    text = 'layer { name: "x" type: "Input" top: "x" } layer { name: "s" type: "Split" bottom: "x" top: "a" top: "b" }'
    param = compile_net(text, "TEST").param
    assert [layer.type for layer in deployed(param, {}).layer] == ["Input", "Split"]
