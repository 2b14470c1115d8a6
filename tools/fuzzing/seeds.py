"""Small files of every kind, made here, for the fuzzer to start from."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from netc import proto
from netc.weights import SolverState

_VALUES = np.arange(6, dtype="<f4") / 8


V1 = """
name: "v1"
input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 9
layers {
  name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }
}
layers { name: "relu" type: RELU bottom: "conv" top: "conv" include { phase: TRAIN } }
layers {
  name: "ip" type: INNER_PRODUCT bottom: "conv" top: "ip" param: "w" param: "b" inner_product_param { num_output: 3 }
}
layers { name: "loss" type: EUCLIDEAN_LOSS bottom: "ip" bottom: "ip" top: "loss" exclude { phase: TEST stage: "s" } }
"""

V0 = """
name: "v0"
layers {
  layer { name: "data" type: "data" source: "lmdb" batchsize: 4 cropsize: 8 mirror: true scale: 0.5 meanfile: "mean" }
  top: "data" top: "label"
}
layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "pad" }
layers {
  layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3 group: 1 stride: 1 biasterm: true
          weight_filler { type: "gaussian" std: 0.1 } blobs_lr: 1 blobs_lr: 2 }
  bottom: "pad" top: "conv"
}
layers { layer { name: "pool" type: "pool" pool: MAX kernelsize: 2 stride: 2 } bottom: "conv" top: "pool" }
layers { layer { name: "norm" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.7 } bottom: "pool" top: "norm" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.4 } bottom: "norm" top: "norm" }
layers { layer { name: "ip" type: "innerproduct" num_output: 3 } bottom: "norm" top: "ip" }
layers { layer { name: "loss" type: "softmax_loss" } bottom: "ip" bottom: "label" }
"""


def texts() -> Iterator[bytes]:
    """Nets of the older formats."""
    yield V1.encode()
    yield V0.encode()


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
    from netc.weights.formats.hdf5 import hdf5_image, hdf5_state_image

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
