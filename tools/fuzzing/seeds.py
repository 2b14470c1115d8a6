"""Small weight files of every kind, made here, for the fuzzer to start from."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from netc import proto
from netc.weights.caffemodel import SolverState

_VALUES = np.arange(6, dtype="<f4") / 8


def binary() -> Iterator[bytes]:
    """.caffemodel of the three ages and all ways to store values, .solverstate, .binaryproto."""
    blobs = list(_blobs())
    yield from (_current(blob) for blob in blobs)
    yield _current(*blobs)
    yield from (_older(blob) for blob in blobs)
    yield proto.NetParameter(layers=[_v0()], name="v0").SerializeToString()
    yield _state().SerializeToString()
    yield from (blob.SerializeToString() for blob in blobs)


def _blobs() -> Iterator[Any]:
    shape = proto.BlobShape(dim=[2, 3])
    yield proto.BlobProto(data=_VALUES, shape=shape)
    yield proto.BlobProto(data=_VALUES, diff=_VALUES, num=1, channels=1, height=2, width=3)
    yield proto.BlobProto(double_data=_VALUES, double_diff=_VALUES, shape=shape)
    half = _VALUES.astype("<f2").tobytes()  # NVIDIA's fork: raw_data_type FLOAT16, raw_data
    raw = b"\x50\x02" + b"\x62" + bytes([len(half)]) + half
    yield proto.BlobProto.FromString(proto.BlobProto(shape=shape).SerializeToString() + raw)


def _current(*blobs: Any) -> bytes:
    net = proto.NetParameter(name="net")
    net.layer.add(name="conv", type="Convolution", bottom=["data"], top=["conv"], blobs=blobs)
    net.layer.add(name="relu", type="ReLU", bottom=["conv"], top=["conv"])
    return bytes(net.SerializeToString())


def _older(blob: Any) -> bytes:
    layer = proto.message("V1LayerParameter")(name="ip", type=14, bottom=["data"], top=["ip"], blobs=[blob, blob])
    return bytes(proto.NetParameter(name="v1", layers=[layer]).SerializeToString())


def _v0() -> Any:
    blob = next(_blobs())
    inner = proto.message("V0LayerParameter")(name="ip", type="innerproduct", num_output=2, blobs=[blob])
    return proto.message("V1LayerParameter")(layer=inner, bottom=["data"], top=["ip"])


def _state() -> Any:
    return proto.SolverState(iter=7, learned_net="net.caffemodel", history=list(_blobs()), current_step=1)


def messages() -> Iterator[bytes]:
    """Binary nets and solvers."""
    yield from (_current(blob) for blob in _blobs())
    yield proto.NetParameter(layers=[_v0()]).SerializeToString()
    yield proto.NetParameter(input=["data"], input_dim=[1, 3, 4, 5]).SerializeToString()
    solver = proto.SolverParameter(net="net.prototxt", base_lr=0.1, lr_policy="step", gamma=0.1, stepsize=9)
    yield solver.SerializeToString()


def safetensors() -> Iterator[bytes]:
    from safetensors.numpy import save

    weight = _VALUES.reshape(2, 3)
    yield save({"conv.weight": weight, "conv.bias": _VALUES[:2]})
    yield save({"ip.0": weight.astype("<f2"), "ip.1": _VALUES.astype("<f8")}, {"netc.blobs": '{"ip.0": ["ip", 0]}'})


def npz() -> Iterator[bytes]:
    arrays: dict[str, Any] = {"conv/0": _VALUES.reshape(2, 3), "conv/1": _VALUES[:2]}
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **arrays)
        yield file.getvalue()


def hdf5() -> Iterator[bytes]:
    from netc.weights.hdf5 import hdf5_image, hdf5_state_image

    yield bytes(hdf5_image({"conv": [_VALUES.reshape(2, 3), _VALUES[:2]]}))
    yield bytes(hdf5_state_image(SolverState(7, "net.caffemodel.h5", [_VALUES], 1)))


def datums() -> Iterator[bytes]:
    """LMDB records: raw bytes, floats, and compressed pictures."""
    from PIL import Image

    pixels = (np.arange(4 * 5 * 3) * 4).astype("u1").reshape(4, 5, 3)
    yield proto.Datum(channels=3, height=4, width=5, data=pixels.tobytes(), label=3).SerializeToString()
    yield proto.Datum(channels=1, height=2, width=3, float_data=_VALUES, label=1).SerializeToString()
    for kind in ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        yield proto.Datum(encoded=True, data=file.getvalue(), label=2).SerializeToString()
