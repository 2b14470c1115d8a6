"""Files of C3D (facebookarchive/C3D v1.0), whose blobs have five axes under numbers of their own."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import netc
from netc import weights
from netc.cli import main
from netc.errors import NetcError
from netc.files.wire import field_head
from netc.weights.reader import read_blob

Array = NDArray[np.float32]


def field(number: int, data: bytes) -> bytes:
    return bytes(field_head(number, len(data))) + data


def varint(number: int, value: int) -> bytes:
    found = bytes([number << 3])
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def blob(array: Array, packed: bool = True) -> bytes:
    """Its BlobProto: num, channels, length, height, width = 1 … 5, data = 6."""
    shape = (1,) * (5 - array.ndim) + array.shape
    values = array.astype("<f4").tobytes()
    data = field(6, values) if packed else b"".join(b"\x35" + struct.pack("<f", x) for x in array.ravel())
    return b"".join(varint(i + 1, size) for i, size in enumerate(shape)) + data


def model(layers: dict[str, list[Array]], packed: bool = True) -> bytes:
    """V1 layers, of a type that only C3D numbers so."""
    return field(1, b"c3d") + b"".join(
        field(2, varint(5, 40) + field(4, name.encode()) + b"".join(field(6, blob(a, packed)) for a in arrays))
        for name, arrays in layers.items()
    )


DRAW = np.random.default_rng(2)
CONV = [DRAW.standard_normal((4, 3, 3, 2, 2)).astype("f4"), DRAW.standard_normal(4).astype("f4")]
NET = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 6 dim: 7 } } }
layer { name: "conv1a" type: "Convolution" bottom: "x" top: "y"
  convolution_param { num_output: 4 kernel_size: 3 kernel_size: 2 kernel_size: 2 } }"""


@pytest.mark.parametrize("packed", [True, False])
def test_a_c3d_file_is_read(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "c3d.caffemodel"
    path.write_bytes(model({"conv1a": CONV}, packed))
    found = weights.read(path)
    assert np.array_equal(found["conv1a"][0], CONV[0])
    net = netc.load_net(NET, weights=path)
    x = torch.randn(2, 3, 5, 6, 7)
    expected = F.conv3d(x, *map(torch.from_numpy, CONV))
    torch.testing.assert_close(net(x=x)["y"], expected, rtol=1e-5, atol=1e-5)


def test_netc_weights_names_c3d(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(shared / "cases/c3d_caffemodel_called_damaged/c3d.caffemodel")
    assert main(["weights", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layers"][0]["blobs"][0]["shape"] == [1, 1, 1, 3, 4]
    assert found["facts"]["blobs"].startswith("of C3D")


def test_c3ds_mean(tmp_path: Path) -> None:
    mean = DRAW.standard_normal((1, 3, 4, 5, 6)).astype("f4")
    (tmp_path / "mean.binaryproto").write_bytes(blob(mean))
    assert np.array_equal(read_blob(tmp_path / "mean.binaryproto"), mean)
    assert main(["weights", str(tmp_path / "mean.binaryproto")]) == 0


def test_a_blob_of_neither_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.caffemodel"
    path.write_bytes(field(2, field(4, b"a") + field(6, blob(CONV[1]) + field(9, b"x"))))
    with pytest.raises(NetcError, match="not one of a blob of C3D") as raised:
        weights.read(path)
    assert raised.value.code == "W702"
    path.write_bytes(field(2, field(4, b"a") + field(6, blob(CONV[1]) + varint(1, 7))))
    with pytest.raises(NetcError, match="28 values, but holds 4") as raised:
        weights.read(path)
    assert raised.value.code == "W704"


def test_an_onnx_model_is_named_as_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ModelProto: ir_version 10, a producer's name, a graph, an opset; with a name and without."""
    for producer in (field(2, b"pytorch"), b""):
        path = tmp_path / "m.onnx"
        path.write_bytes(varint(1, 10) + producer + field(7, field(2, b"graph")) + field(8, varint(2, 20)))
        for command in (["weights"], ["convert-caffemodel", "--to", "npz"]):
            assert main([*command, str(path)]) == 65
            assert "not a weight file but an ONNX model" in capsys.readouterr().err
        assert main(["check", str(path)]) == 65
        assert "this is an ONNX model, not a net of Caffe" in capsys.readouterr().err
