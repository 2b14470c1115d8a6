"""VGG nets under torchvision's names: which nets are, which are not, and that every array is where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from netc.errors import NetcError
from netc.files.shipped import locate
from netc.graph.compile import compile_net
from netc.graph.read import read_net
from netc.weights.formats.torchvision import NETS, vgg_of

SHIPPED = {"vgg_A": "vgg11", "vgg_B": "vgg13", "vgg_D": "vgg16", "vgg_E": "vgg19"}


def empty(graph):
    """Arrays of the right shapes that take no memory."""
    return {
        node.name: [np.broadcast_to(np.float32(0), ref.blob.shape) for ref in node.params]
        for node in graph.nodes
        if node.params
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_the_papers_nets_are_torchvisions(name):
    import torch

    from tests.torchvision_here import models

    graph = compile_net(locate(name, "deploy.prototxt"), "TEST")
    found = vgg_of(graph, empty(graph))
    assert found.name == SHIPPED[name]
    with torch.device("meta"):
        theirs = getattr(models(), found.name)().state_dict()
    assert {key: array.shape for key, array in found.state.items()} == {
        key: tuple(tensor.shape) for key, tensor in theirs.items()
    }


def test_every_net_is_told_apart():
    assert sorted(NETS.values()) == ["vgg11", "vgg13", "vgg16", "vgg19"]


CONVOLUTIONAL = {
    "fc6": (25088, 4096, 7),
    "fc7": (4096, 4096, 1),
    "fc8": (4096, 1000, 1),
}


def changed(name, change):
    net = read_net(locate(name, "deploy.prototxt"))
    for layer in net.layer:
        change(layer)
    return compile_net(net, "TEST")


def test_fully_connected_layers_may_be_convolutions():
    def convolve(layer):
        if layer.name in CONVOLUTIONAL:
            layer.type = "Convolution"
            layer.convolution_param.num_output = layer.inner_product_param.num_output
            layer.convolution_param.kernel_size.append(CONVOLUTIONAL[layer.name][2])
            layer.ClearField("inner_product_param")

    graph = changed("vgg_A", convolve)
    found = vgg_of(graph, empty(graph))
    assert found.name == "vgg11"
    assert found.state["classifier.0.weight"].shape == (4096, 25088)


def test_another_number_of_classes():
    def classes(layer):
        if layer.name == "fc8":
            layer.inner_product_param.num_output = 7

    graph = changed("vgg_A", classes)
    assert vgg_of(graph, empty(graph)).sizes == [4096, 4096, 7]


def slope(layer):
    if layer.name == "relu1_1":
        layer.relu_param.negative_slope = 0.1


def average(layer):
    if layer.name == "pool1":
        layer.pooling_param.pool = 1


def grouped(layer):
    if layer.name == "conv2_1":
        layer.convolution_param.group = 2


def dropped(layer):
    if layer.name == "relu2_1":
        layer.type = "Dropout"


def sigmoid(layer):
    if layer.name == "relu2_1":
        layer.type = "Sigmoid"


def narrow(layer):
    if layer.name == "fc6":
        layer.inner_product_param.num_output = 2048


def odd(layer):
    if layer.type == "Input":
        layer.input_param.shape[0].dim[3] = 223


@pytest.mark.parametrize("change", [slope, average, grouped, dropped, sigmoid, narrow, odd])
def test_what_torchvision_does_not_have(change):
    graph = changed("vgg_A", change)
    with pytest.raises(NetcError) as caught:
        print(vgg_of(graph, empty(graph)).name)
    assert caught.value.code == "W775"


@pytest.mark.parametrize("name", ["vgg_C", "vgg_A_LRN", "vgg_B_5x5", "mini_vgg_A"])
def test_nets_that_are_no_vgg_of_torchvisions(name):
    graph = compile_net(locate(name, "deploy.prototxt"), "TEST")
    with pytest.raises(NetcError) as caught:
        print(vgg_of(graph, empty(graph)).name)
    assert caught.value.code == "W775"
