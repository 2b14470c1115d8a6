"""The reader against protobuf's own, and against files made to hurt."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc import proto, weights
from netc.errors import NetcError
from netc.files.wire import Damaged, Wire, signed
from netc.weights import blob
from netc.weights.formats import caffemodel


def small_net():
    net = proto.NetParameter(name="n")
    first = net.layer.add(name="conv", type="Convolution")
    first.blobs.add(data=np.arange(6) / 8, shape=proto.BlobShape(dim=[2, 3]))
    first.blobs.add(data=[1.5, -2.5], shape=proto.BlobShape(dim=[2]))
    net.layer.add(name="relu", type="ReLU")
    return net


def outcome(read, path):
    """The layers read, or None where a NetcError of ours says what is wrong; anything else escapes."""
    try:
        found = read(path)
        return set(found) if isinstance(found, dict) else None
    except NetcError as error:
        if not error.code.startswith("W7") or error.path != str(path):
            raise
        return None


def code_of(path, read=weights.read):
    with pytest.raises(NetcError) as caught:
        read(path)
    return caught.value.code


def test_field_numbers_are_the_schemas():
    for message, numbers in {
        "NetParameter": caffemodel.NET,
        "LayerParameter": caffemodel.LAYER,
        "V1LayerParameter": caffemodel.V1,
        "V0LayerParameter": caffemodel.V0,
        "BlobProto": blob.BLOB,
        "SolverState": caffemodel.STATE,
    }.items():
        fields = proto.message(message).DESCRIPTOR.fields_by_name
        assert numbers == {name: fields[name].number for name in numbers}


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40), st.lists(st.floats(width=32), max_size=40), st.booleans()
)
def test_lists_are_read_as_protobuf_reads_them(dims, values, packed):
    blob = proto.BlobProto(shape=proto.BlobShape(dim=dims), data=values, double_data=values).SerializeToString()
    if not packed:
        tags = b"".join(b"\x2d" + np.float32(v).tobytes() for v in values)
        blob = tags + b"".join(b"\x41" + np.float64(v).tobytes() for v in values)
    wire = Wire(blob)
    found = {f.number: f for f in wire.fields(0, len(blob))}
    for number, dtype in ((5, "<f4"), (8, "<f8")):
        got = wire.reals(found[number], dtype) if values else np.zeros(0)
        assert np.array_equal(got, np.array(values, dtype), equal_nan=True)
    if packed and dims:
        (dim,) = wire.fields(found[7].start, found[7].end)
        assert [signed(value) for value in wire.varints(dim, 40)] == dims


def test_pieces_of_a_list_are_joined(tmp_path):
    """A list may come in several packed pieces and single values, in any order with other fields."""
    one = b"\x2d" + np.float32(1).tobytes()
    blob = one + one + b"\x2a\x08" + np.array([2, 3], "<f4").tobytes() + b"\x3a\x02\x08\x05" + one
    (path := tmp_path / "x.binaryproto").write_bytes(blob)
    assert weights.read_blob(path).tolist() == [1, 1, 2, 3, 1]


def test_arrays_are_views_of_the_file(tmp_path):
    """Reading 64 MB allocates next to nothing."""
    net = proto.NetParameter(layer=[proto.LayerParameter(name="fc", type="InnerProduct")])
    path = tmp_path / "big.caffemodel"
    values = np.random.default_rng(0).random((4096, 4096), "float32")
    weights.write_caffemodel(path, net, {"fc": [values]})
    tracemalloc.start()
    found = weights.read(path)["fc"][0]
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert np.array_equal(found, values)


def test_a_file_above_2_gib(tmp_path):
    """The values beyond 2 GiB are found; the file is sparse, so it takes no room."""
    path, count = tmp_path / "huge.caffemodel", 2**29 + 7
    shape = proto.BlobProto(shape=proto.BlobShape(dim=[count])).SerializeToString()

    def head(number, size):
        return varint(number << 3 | 2) + varint(size)

    data = head(5, 4 * count)
    blob = head(7, len(shape) + len(data) + 4 * count)
    layer = head(1, 2) + b"fc" + blob
    with path.open("wb") as file:
        file.write(head(100, len(layer) + len(shape) + len(data) + 4 * count) + layer + shape + data)
        file.seek(4 * (count - 1), os.SEEK_CUR)
        file.write(np.float32(3.25).tobytes())
    (array,) = weights.read(path)["fc"]
    assert (array.shape, array[0], array[-1]) == ((count,), 0, 3.25)


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def test_every_truncation_is_an_error_or_a_shorter_net(tmp_path):
    """Cut between two layers, the file is a legal message with fewer layers; anywhere else it is damaged."""
    data = small_net().SerializeToString()
    path = tmp_path / "cut.caffemodel"
    whole = 0
    for size in range(len(data)):
        path.write_bytes(data[:size])
        whole += outcome(weights.read, path) == {"conv"}
    assert whole == 1


@settings(max_examples=300)
@given(st.integers(0, 10**9), st.integers(1, 8))
def test_mutations_never_escape(tmp_path_factory, seed, count):
    rng = random.Random(seed)
    data = bytearray(small_net().SerializeToString())
    for _ in range(count):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path = tmp_path_factory.getbasetemp() / "mutated.caffemodel"
    path.write_bytes(data)
    for read in (weights.read, weights.read_solverstate, weights.read_blob):
        outcome(read, path)


@pytest.mark.parametrize(
    "dims", [[2**56 - 1], [2**31, 2**31, 2**31], [-3], [0, 2**62, 2**62], [1] * 33, [2**63 - 1] * 20], ids=str
)
def test_declared_sizes_allocate_nothing(tmp_path, dims):
    net = small_net()
    net.layer[0].blobs[0].shape.dim[:] = dims
    (path := tmp_path / "bomb.caffemodel").write_bytes(net.SerializeToString())
    tracemalloc.start()
    with pytest.raises(NetcError) as caught:
        weights.read(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert caught.value.code in ("W702", "W704")
    assert 'layer "conv", blob 0' in caught.value.message


def test_a_file_of_tiny_fields_is_given_up(monkeypatch):
    monkeypatch.setattr("netc.files.wire.MAX_FIELDS", 1000)
    with pytest.raises(Damaged, match="more than 1,000 fields"):
        list(Wire(b"\x08\x01" * 2000).fields(0, 4000))


def test_single_values_in_turn_with_others_take_linear_time():
    """A run of one value must not look at the rest of the file each time."""
    data = (b"\x2d" + bytes(4) + b"\x08\x01") * 20_000
    assert sum(field.number == 5 for field in Wire(data).fields(0, len(data))) == 20_000


@pytest.mark.parametrize(
    "data, what",
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\n\n  <html>", "HTML"),
        (b"PK\x03\x04...", "zip"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x80\x04\x95\x10\0\0\0\0\0\0\0}", "pickle"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (bz2.compress(b"weights"), "bzip2"),
        (lzma.compress(b"weights"), "xz"),
        (b"\x28\xb5\x2f\xfd\x24\0", "zstd"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "7z"),
        (b"Rar!\x1a\x07\1\0", "RAR"),
        (b"net.caffemodel".ljust(257, b"\0") + b"ustar\x0000", "tar"),
        (b"\x93NUMPY\1\0v\0", "numpy"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b'name: "VGG"\nlayer {', "prototxt"),
        (b"\x00\x00\x00\x00", "number 0"),
        (proto.SolverState(iter=3, learned_net="x.caffemodel").SerializeToString(), ".solverstate"),
        (proto.NetParameter(name="empty").SerializeToString(), "no layers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_foreign_files_are_named(tmp_path, data, what):
    (path := tmp_path / "w.caffemodel").write_bytes(data)
    with pytest.raises(NetcError) as caught:
        weights.read(path)
    assert caught.value.code in ("W701", "W702")
    assert what in str(caught.value)


def test_a_net_whose_first_bytes_look_like_text(tmp_path):
    """Key and length of a nine-letter name are a line feed and a tab."""
    net = small_net()
    net.name = "layernets"
    (path := tmp_path / "w").write_bytes(net.SerializeToString())
    assert path.read_bytes().startswith(b"\n\tlayer")
    assert set(weights.read(path)) == {"conv", "relu"}


def test_missing_unreadable_and_strange_paths(tmp_path):
    (tmp_path / "vgg16.caffemodel").write_bytes(b"x")
    with pytest.raises(NetcError, match=r"did you mean \"vgg16.caffemodel\"") as caught:
        weights.read(tmp_path / "vgg_16.caffemodel")
    assert (caught.value.code, caught.value.exit_status) == ("F110", 66)
    os.mkfifo(tmp_path / "fifo")
    assert code_of(tmp_path / "fifo") == "F102"
    assert code_of(tmp_path) == "F102"
    assert code_of("/dev/zero") == "F102"


def test_weights_for_a_state_and_layers_of_two_formats(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(small_net().SerializeToString())
    assert code_of(path, weights.read_solverstate) == "W705"
    path.write_bytes(small_net().SerializeToString() + proto.NetParameter(layers=[{"name": "old"}]).SerializeToString())
    assert code_of(path) == "W703"


def test_doubles_are_written_and_read_as_doubles():
    net = proto.NetParameter(layer=[proto.LayerParameter(name="a"), proto.LayerParameter(name="b")])
    arrays = {"a": [np.array([[1 / 3]]), np.float32([2])], "b": []}
    file = io.BytesIO()
    weights.write_caffemodel(file, net, arrays)
    found = proto.NetParameter.FromString(file.getvalue())
    assert list(found.layer[0].blobs[0].double_data) == [1 / 3]
    assert list(found.layer[0].blobs[0].shape.dim) == [1, 1]
    assert list(found.layer[0].blobs[1].data) == [2]
