"""Layers with everything the file says about them, against protobuf's own reading of the whole file."""

from __future__ import annotations

import numpy as np
import pytest

import netc
from netc import proto, weights
from netc.errors import NetcError
from netc.weights import layers as module


def stripped(net):
    """The net without blobs."""
    bare = proto.NetParameter.FromString(net.SerializeToString())
    for layer in (*bare.layer, *bare.layers):
        layer.ClearField("blobs")
        if bare.layers and layer.HasField("layer"):
            layer.layer.ClearField("blobs")
    return bare


def models(shared):
    return sorted((shared / "goldens").rglob("*.caffemodel")) + sorted(
        path for path in (shared / "zoo/caffemodel").rglob("*.caffemodel") if path.stat().st_size < 4_000_000
    )


def test_every_file_without_its_blobs_is_what_protobuf_reads(shared):
    seen = set()
    for path in models(shared):
        try:
            weights.read(path)
        except NetcError:
            continue
        expected = proto.NetParameter.FromString(path.read_bytes())
        found = weights.read_net(path)
        assert found == stripped(expected), path
        stored = weights.read_layers(path)
        old = list(expected.layers)
        source = old or list(expected.layer)
        assert [layer.param for layer in stored.layers] == list(found.layers or found.layer), path
        names = [layer.layer.name if old and layer.HasField("layer") else layer.name for layer in source]
        assert [layer.name for layer in stored.layers] == names, path
        blobs = [layer.layer.blobs if old and layer.HasField("layer") else layer.blobs for layer in source]
        assert [len(layer.blobs) for layer in stored.layers] == list(map(len, blobs)), path
        seen.add(stored.version)
    assert seen == {"V0", "V1", "current"}


def test_versions_and_types(shared):
    folder = shared / "goldens/models"
    found = {
        name: weights.read_layers(folder / f"{name}.caffemodel")
        for name in ("v0_model", "v1_shape_fields", "saved_by_caffe", "v2_duplicate_layer_last_wins")
    }
    assert [net.version for net in found.values()] == ["V0", "V1", "current", "current"]
    kinds = {name: next(layer.type for layer in net.layers if layer.name == "conv1") for name, net in found.items()}
    assert list(kinds.values())[:3] == ["conv", "CONVOLUTION", "Convolution"]
    twice = [layer for layer in found["v2_duplicate_layer_last_wins"].layers if layer.replaced]
    assert len(twice) == 1
    assert weights.read(folder / "v2_duplicate_layer_last_wins.caffemodel")[twice[0].name][0] is not twice[0].arrays[0]


def test_fields_of_forks_are_counted_and_kept(shared):
    found = weights.read_layers(shared / "zoo/caffemodel/mtcnn/det2.caffemodel")
    assert found.unknown == {"LossParameter 4": 2}
    net = proto.NetParameter(layer=[{"name": "a", "type": "X", "pooling_param": {"kernel_size": 2}}])
    data = net.SerializeToString()
    fork = b"\xd2\x43\x02\x08\x01"  # field 1082 of the net
    assert weights.read_layers(data + fork).unknown == {"NetParameter 1082": 1}
    assert weights.read_net(data + fork).SerializeToString() == data + fork


def test_a_net_comes_out_of_its_weights(shared):
    net = weights.read_net(shared / "goldens/models/saved_by_caffe.caffemodel")
    graph = netc.compile_net(net)
    assert [node.name for node in graph.nodes] == ["data", "conv1", "relu1", "ip1", "extra"]


def refused(read, data):
    with pytest.raises(NetcError) as caught:
        read(data)
    return caught.value.code


def test_text_that_is_no_utf8():
    data = proto.NetParameter(layer=[{"name": "abc", "type": "X"}]).SerializeToString().replace(b"abc", b"\xff\xfec")
    assert [layer.name for layer in weights.read_layers(data).layers] == ["\udcff\udcfec"]
    assert refused(weights.read_net, data) == "W742"


def test_settings_that_are_damaged_or_too_large(monkeypatch):
    good = proto.NetParameter(layer=[{"name": "a", "pooling_param": {"kernel_size": 2}}])
    data = good.SerializeToString()
    assert refused(weights.read_layers, data.replace(b"\x10\x02", b"\x10\x82")) == "W702"
    monkeypatch.setattr(module, "MAX_SETTINGS", len(data) - 1)
    assert refused(weights.read_layers, data) == "W740"
    assert refused(weights.read_net, data) == "W740"


def test_files_without_layers():
    assert refused(weights.read_layers, proto.NetParameter(name="empty").SerializeToString()) == "W701"
    header = b'{"a.0":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    data = len(header).to_bytes(8, "little") + header + bytes(4)
    assert np.array_equal(weights.read(data)["a"][0], [0])
    assert refused(weights.read_layers, data) == "W743"


def test_a_nameless_net_with_the_shapes_of_its_inputs_is_a_net():
    """Its field 8 is not the double_data of a blob."""
    from netc.weights.contents import CAFFEMODEL, contents

    net = proto.NetParameter(input=["x"], layers=[{"name": "fc", "type": 14}])
    net.input_shape.add(dim=[1, 2])
    assert contents(net.SerializeToString()).kind == CAFFEMODEL
