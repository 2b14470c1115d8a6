"""caffe.net_spec, and caffe.proto.caffe_pb2: nets written in Python, and their messages."""

# ruff: noqa: C408 (dict(...) is how such nets are written)
from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from google.protobuf import text_format

import netc.pycaffe as caffe
from netc import proto
from netc.pycaffe import layers as L
from netc.pycaffe import params as P
from netc.pycaffe.proto import caffe_pb2


def lenet(batch_size: int) -> Any:
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[batch_size, 1, 28, 28]), dict(dim=[batch_size, 1, 1, 1])],
        transform_param=dict(scale=1 / 255.0),
        ntop=2,
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, weight_filler=dict(type="xavier"))
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool2, num_output=500, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.to_proto()


def test_lenet_is_what_a_person_would_write() -> None:
    net = lenet(50)
    assert [layer.name for layer in net.layer] == [
        "data",
        "conv1",
        "pool1",
        "conv2",
        "pool2",
        "ip1",
        "relu1",
        "ip2",
        "loss",
    ]
    assert net.layer[6].bottom == net.layer[6].top == ["ip1"]
    assert list(net.layer[0].dummy_data_param.shape[0].dim) == [50, 1, 28, 28]
    assert net.layer[1].convolution_param.weight_filler.type == "xavier"
    assert list(net.layer[1].convolution_param.kernel_size) == [5]
    assert net.layer[2].pooling_param.pool == caffe_pb2.PoolingParameter.MAX
    assert list(net.layer[8].bottom) == ["ip2", "label"]
    built = caffe.Net(str(net), caffe.TEST)
    assert len(built.layers) == 9
    assert built.blobs["ip2"].shape == (50, 10)


def anon_lenet(batch_size: int) -> Any:
    data, label = L.DummyData(
        shape=[dict(dim=[batch_size, 1, 28, 28]), dict(dim=[batch_size, 1, 1, 1])], ntop=2
    )  # fmt: skip
    conv1 = L.Convolution(data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    pool1 = L.Pooling(conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    ip1 = L.InnerProduct(pool1, num_output=500, weight_filler=dict(type="xavier"))
    relu1 = L.ReLU(ip1, in_place=True)
    ip2 = L.InnerProduct(relu1, num_output=10, weight_filler=dict(type="xavier"))
    return L.SoftmaxWithLoss(ip2, label).to_proto()


def test_layers_without_names_are_numbered() -> None:
    net = anon_lenet(50)
    names = ["DummyData1", "Convolution1", "Pooling1", "InnerProduct1", "ReLU1", "InnerProduct2", "SoftmaxWithLoss1"]
    assert sorted(layer.name for layer in net.layer) == sorted(names)
    assert len(caffe.Net(str(net), caffe.TEST).layers) == 7


def test_layers_without_tops() -> None:
    n = caffe.NetSpec()
    n.data, n.data2 = L.DummyData(shape=dict(dim=3), ntop=2)
    n.silence_data = L.Silence(n.data, ntop=0)
    n.silence_data2 = L.Silence(n.data2, ntop=0)
    net = caffe.Net(str(n.to_proto()), caffe.TEST)
    assert net.forward() == {}


def test_what_is_not_a_top_is_refused() -> None:
    data = L.DummyData(ntop=2, shape=dict(dim=1))
    with pytest.raises(TypeError, match=r"^Silence input 0 is not a Top \(type is <(type|class) 'tuple'>\)$"):
        L.Silence(data, ntop=0)


def test_fields_of_the_layer_and_of_its_message() -> None:
    n = caffe.NetSpec()
    n.data = L.Input(shape=[dict(dim=[1, 3])])
    n["fc"] = L.InnerProduct(
        n.data, num_output=2, param=[dict(lr_mult=1, decay_mult=1), dict(lr_mult=2)], include=dict(phase=caffe.TEST)
    )
    n.own = L.Python(n.fc, module="pyloss", layer="Loss", loss_weight=1, python_param=dict(param_str="x"))
    fc, own = n.to_proto().layer[1:]
    assert [(spec.lr_mult, spec.decay_mult) for spec in fc.param] == [(1, 1), (2, 1)]
    assert fc.include[0].phase == caffe.TEST
    assert (own.python_param.module, own.python_param.param_str, list(own.loss_weight)) == ("pyloss", "x", [1])
    with pytest.raises(AttributeError):
        L.InnerProduct(n.data, num_outputs=2).to_proto()
    with pytest.raises(AttributeError, match="no top"):
        _ = n.fd
    del n.own
    assert n.keys() == ["data", "fc"]


def test_several_tops_make_one_net() -> None:
    data = L.Input(shape=dict(dim=[1, 3]))
    both = caffe.to_proto(L.ReLU(data), L.Sigmoid(data))
    assert [layer.type for layer in both.layer] == ["Input", "ReLU", "Sigmoid"]


def test_messages_go_through_googles_own_functions() -> None:
    net = caffe_pb2.NetParameter()
    text_format.Merge('name: "n" layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 } } }', net)
    assert text_format.Parse(text_format.MessageToString(net), caffe_pb2.NetParameter()) == net
    assert caffe_pb2.NetParameter.FromString(net.SerializeToString()) == net
    assert isinstance(net, proto.NetParameter)
    assert isinstance(caffe_pb2.LayerParameter(), type(net.layer[0]))


def test_enums_are_protobufs() -> None:
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST) == (0, 1) == (caffe.TRAIN, caffe.TEST)
    assert caffe_pb2.Phase.Name(caffe_pb2.TEST) == "TEST"
    assert caffe_pb2.Phase.Value("TRAIN") == 0
    assert caffe_pb2.SolverParameter.CPU == 0
    assert caffe_pb2.V1LayerParameter.LayerType.Value("CONVOLUTION") == caffe_pb2.V1LayerParameter.CONVOLUTION
    assert caffe_pb2._NETPARAMETER is caffe_pb2.NetParameter.DESCRIPTOR
    assert caffe_pb2.DESCRIPTOR.package == "caffe"
    assert {"Datum", "TEST", "Phase"} <= set(dir(caffe_pb2))
    with pytest.raises(AttributeError):
        _ = caffe_pb2.NetParameters


def test_writing_nets_loads_no_torch() -> None:
    code = """import sys
import netc.pycaffe as caffe
n = caffe.NetSpec()
n.data = caffe.layers.Input(shape=dict(dim=[1, 3]))
assert "Input" in str(n.to_proto())
caffe.io.Transformer({"data": (1, 3, 4, 4)}), caffe.proto.caffe_pb2.Datum(), caffe.Layer
assert "torch" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
