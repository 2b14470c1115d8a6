"""netc.proto: classes by name, enums, a pool of its own, and nothing loaded before it is asked for."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from netc import proto

ROOT = Path(__file__).resolve().parents[2]


def test_messages_are_attributes() -> None:
    net = proto.NetParameter(name="n")
    net.layer.add(name="c", phase=proto.Phase.TEST).convolution_param.kernel_size.append(3)
    assert proto.NetParameter.FromString(net.SerializeToString()) == net
    assert type(net.layer[0]) is proto.LayerParameter is proto.message("LayerParameter")
    assert all(getattr(proto, name).DESCRIPTOR.name == name for name in proto.messages())


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="NoSuchParameter"):
        _ = proto.NoSuchParameter
    with pytest.raises(KeyError):
        proto.message("NoSuchParameter")
    with pytest.raises(KeyError):
        proto.enum("PoolingParameter.NoSuchEnum")


def test_enums_have_names_and_numbers() -> None:
    assert (proto.TRAIN, proto.TEST) == (proto.Phase.TRAIN, proto.Phase.TEST) == (0, 1)
    assert proto.Phase(1).name == "TEST"
    assert proto.enum("HingeLossParameter.Norm")["L2"] == proto.HingeLossParameter.L2 == 2


def test_messages_travel_between_processes() -> None:
    datum = proto.Datum(channels=3, height=4, width=5, data=bytes(60), label=7)
    assert pickle.loads(pickle.dumps(datum)) == datum


def test_another_caffe_proto_in_the_default_pool_does_not_collide() -> None:
    other = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe")
    other.message_type.add(name="NetParameter").field.add(name="other", number=1, type=9, label=1)
    found = descriptor_pool.Default().AddSerializedFile(other.SerializeToString())
    assert (found or descriptor_pool.Default().FindFileByName("caffe.proto")).package == "caffe"
    assert "other" not in proto.NetParameter.DESCRIPTOR.fields_by_name


def test_import_loads_no_protobuf() -> None:
    code = "import sys, netc.proto; sys.exit(any(name.startswith('google.protobuf') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
