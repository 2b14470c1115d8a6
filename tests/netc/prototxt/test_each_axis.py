"""Pooling of forks: kernel_size, stride and pad once for each axis, where Caffe's schema has them once."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc import proto, read_net
from netc.errors import NetcError
from netc.files.wire import field_head, varint

NET = 'layer {{ name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param {{ {} }} }}'


def pooling(text: str) -> proto.PoolingParameter:  # type: ignore[name-defined]
    return read_net(NET.format(text)).layer[0].pooling_param


def test_given_once_it_is_caffes_field() -> None:
    found = pooling("kernel_size: 3 stride: 2")
    assert (found.kernel_size, found.stride, found.pad) == (3, 2, 0)
    assert not found.kernel_sizes


def test_given_for_each_axis_it_is_read_in_order_whatever_stands_between() -> None:
    found = pooling("kernel_size: 1 pool: AVE kernel_size: 2 pad: 1 kernel_size: 3 stride: 2 stride: 1 stride: 2")
    assert list(found.kernel_sizes) == [1, 2, 3]
    assert list(found.strides) == [2, 1, 2]
    assert (list(found.pads), found.pad) == ([], 1)
    assert not found.HasField("kernel_size")


def test_in_a_binary_file_too(tmp_path: Path) -> None:
    """Protobuf keeps the last of several values of a field that a message has once."""
    block = b"".join(varint(2 << 3) + varint(size) for size in (1, 2, 3)) + varint(3 << 3) + varint(2)
    layer = proto.LayerParameter(name="p", type="Pooling", bottom=["x"], top=["p"]).SerializeToString()
    layer += field_head(121, len(block)) + block
    path = tmp_path / "net.binaryproto"
    path.write_bytes(proto.NetParameter(name="n").SerializeToString() + field_head(100, len(layer)) + layer)
    found = read_net(path).layer[0].pooling_param
    assert (list(found.kernel_sizes), found.stride, list(found.strides)) == ([1, 2, 3], 2, [])


def test_fields_that_no_fork_repeats_are_given_once() -> None:
    with pytest.raises(NetcError) as caught:
        pooling("kernel_h: 3 kernel_h: 3")
    assert caught.value.code == "S205"
