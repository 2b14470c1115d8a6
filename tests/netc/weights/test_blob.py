"""How the values of a blob may be stored: NVIDIA's raw bytes, gradients, and what is refused. Messages are built with a
schema of the test's own, so that the reader's field numbers are checked against something else."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from netc import proto, weights
from netc.errors import NetcError

LABEL, TYPE = descriptor_pb2.FieldDescriptorProto, descriptor_pb2.FieldDescriptorProto


def nvidia_schema():
    """BlobProto of NVIDIA's fork: what its caffe.proto (0.17), OpenCV's and TensorRT's copies of it agree on."""
    file = descriptor_pb2.FileDescriptorProto(name="nv.proto", package="nv", syntax="proto2")
    shape = file.message_type.add(name="BlobShape")
    add(shape, "dim", 1, TYPE.TYPE_INT64, repeated=True, packed=True)
    blob = file.message_type.add(name="BlobProto")
    for number, name in enumerate(("num", "channels", "height", "width"), 1):
        add(blob, name, number, TYPE.TYPE_INT32)
    add(blob, "shape", 7, TYPE.TYPE_MESSAGE, type_name=".nv.BlobShape")
    add(blob, "data", 5, TYPE.TYPE_FLOAT, repeated=True, packed=True)
    add(blob, "diff", 6, TYPE.TYPE_FLOAT, repeated=True, packed=True)
    for name, number, kind in (("raw_data", 12, 10), ("raw_diff", 13, 11)):
        add(blob, f"{name}_type", kind, TYPE.TYPE_INT32)
        add(blob, name, number, TYPE.TYPE_BYTES)
    add(blob, "later", 40, TYPE.TYPE_INT32)
    layer = file.message_type.add(name="LayerParameter")
    add(layer, "name", 1, TYPE.TYPE_STRING)
    add(layer, "blobs", 7, TYPE.TYPE_MESSAGE, type_name=".nv.BlobProto", repeated=True)
    net = file.message_type.add(name="NetParameter")
    add(net, "layer", 100, TYPE.TYPE_MESSAGE, type_name=".nv.LayerParameter", repeated=True)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"nv.{name}"))
        for name in ("BlobProto", "NetParameter")
    }


def add(message, name, number, kind, repeated=False, packed=False, type_name=""):
    label = LABEL.LABEL_REPEATED if repeated else LABEL.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, type=kind, label=label, type_name=type_name or None)
    if packed:
        field.options.packed = True


SCHEMA = nvidia_schema()
VALUES = np.array([[0.5, -1.25, 3], [2, 0.0999755859375, -65504]])
KINDS = {0: "<f8", 1: "<f4", 2: "<f2", 3: "<i4", 4: "<u4"}


def raw_blob(number, **more):
    values = np.abs(np.rint(VALUES)) if number > 2 else VALUES
    blob = SCHEMA["BlobProto"](raw_data_type=number, raw_data=values.astype(KINDS[number]).tobytes(), **more)
    blob.shape.dim.extend(values.shape)
    return blob, values


@pytest.mark.parametrize("number", KINDS)
def test_raw_data_of_nvidias_fork(number):
    blob, values = raw_blob(number)
    found = weights.read_blob(blob.SerializeToString())
    assert found.dtype == KINDS[number]
    assert np.array_equal(found, values)  # halves were chosen: the values are exact in each of the types


def test_raw_halves_are_loaded_into_a_net_as_floats():
    import torch

    net = SCHEMA["NetParameter"]()
    layer = net.layer.add(name="fc")
    layer.blobs.append(raw_blob(2)[0])
    (tensor,) = (torch.zeros(2, 3),)
    weights.copy_weights({"fc": [tensor]}, weights.read(net.SerializeToString()))
    assert np.array_equal(tensor.numpy(), VALUES.astype("f4"))


def test_raw_integers_become_floats_where_a_net_is_given(tmp_path):
    """The bits of an int32 must not be written as those of a float32."""
    from netc.graph.compile import compile_net
    from netc.weights.model import open_for

    blob, values = raw_blob(3)
    net = SCHEMA["NetParameter"]()
    net.layer.add(name="fc").blobs.append(blob)
    (tmp_path / "x.caffemodel").write_bytes(net.SerializeToString())
    graph = compile_net(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } } layer { name: "fc" '
        'type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 bias_term: false } }',
        "TEST",
    )
    (entry,) = open_for(graph, tmp_path / "x.caffemodel").entries
    assert entry.array.dtype == "<f4"
    assert np.array_equal(entry.array, values)


def test_raw_data_without_a_type_are_doubles():
    """The enum's first value, as protobuf reads a field that is not there."""
    blob, values = raw_blob(0)
    blob.ClearField("raw_data_type")
    assert np.array_equal(weights.read_blob(blob.SerializeToString()), values)


def test_data_count_before_raw_data():
    blob, _ = raw_blob(2, data=range(6))
    assert weights.read_blob(blob.SerializeToString()).ravel().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "change, code, text",
    [
        ({"raw_data_type": 7, "raw_data": bytes(6)}, "W741", "unknown type 7"),
        ({"raw_data_type": 2, "raw_data": bytes(13)}, "W702", "no whole number of 2-byte values"),
        ({"raw_data_type": 2, "raw_data": bytes(10)}, "W704", "6 values, but holds 5"),
        ({"raw_data_type": 1, "raw_data": bytes(12)}, "W704", "6 values, but holds 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_raw_data_that_do_not_fit(change, code, text):
    blob = SCHEMA["BlobProto"](**change)
    blob.shape.dim.extend([2, 3])
    with pytest.raises(NetcError) as caught:
        weights.read_blob(blob.SerializeToString())
    assert (caught.value.code, text in caught.value.message) == (code, True)


def test_half_data_of_the_early_fork_are_named():
    data = b"\x3a\x03\x0a\x01\x02" + b"\x52\x04\x80\x78\x80\x78"  # shape 2; field 10 as a packed list
    with pytest.raises(NetcError, match="half_data") as caught:
        weights.read_blob(data)
    assert caught.value.code == "W741"


def two_layers():
    net = SCHEMA["NetParameter"]()
    first = net.layer.add(name="fc").blobs.add(data=range(6), diff=[0.5] * 6)
    first.shape.dim.extend([3, 2])
    second = net.layer.add(name="half").blobs
    second.append(raw_blob(2)[0])
    second[0].raw_diff_type, second[0].raw_diff = 2, (2 * VALUES[:1, :1].repeat(6)).astype("<f2").tobytes()
    net.layer.add(name="relu")
    return net


def test_diffs_are_read_on_request():
    data = two_layers().SerializeToString()
    assert weights.read(data).diffs == {}
    found = weights.read(data, diffs=True).diffs
    assert set(found) == {"fc", "half"}
    assert (found["fc"][0].shape, set(found["fc"][0].ravel())) == ((3, 2), {0.5})
    assert (found["half"][0].dtype, set(found["half"][0].ravel())) == ("<f2", {1.0})


def test_diffs_of_a_layer_that_is_replaced_do_not_stay():
    net = two_layers()
    net.layer.add(name="fc").blobs.add(data=[9]).shape.dim.append(1)
    found = weights.read(net.SerializeToString(), diffs=True)
    assert found["fc"][0].tolist() == [9]
    assert set(found.diffs) == {"half"}


def test_unknown_fields_of_blobs_are_counted():
    net = two_layers()
    net.layer[0].blobs[0].later = 3
    assert weights.read_layers(net.SerializeToString()).unknown == {"BlobProto 40": 1}


@pytest.mark.parametrize("diffs", [False, True])
@pytest.mark.parametrize("field", ["diff", "double_diff"])
def test_a_gradient_of_another_length_is_refused_whoever_asks(tmp_path, field, diffs):
    """Blob::FromProto checks the count of the diff as that of the data."""
    path = tmp_path / "w.caffemodel"
    net = proto.NetParameter()
    blob = net.layer.add(name="fc").blobs.add(data=[1, 2, 3, 4, 5, 6])
    blob.shape.dim[:] = [2, 3]
    getattr(blob, field)[:] = [1] * 6
    path.write_bytes(net.SerializeToString())
    assert weights.read(path, diffs)["fc"][0].shape == (2, 3)
    getattr(blob, field)[:] = [1] * 5
    path.write_bytes(net.SerializeToString())
    with pytest.raises(NetcError) as caught:
        weights.read(path, diffs)
    assert caught.value.code == "W704"
    assert "(diff)" in caught.value.message
