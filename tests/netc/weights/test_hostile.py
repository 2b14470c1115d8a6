"""Damaged files of every format: cut at each byte, bits flipped. No exception but NetcError, and bounded memory.

The fast tests take a part, `-m slow` takes all.
"""

from __future__ import annotations

import io
import random
import tracemalloc
from functools import cache

import numpy as np
import pytest
from safetensors.numpy import save

from netc import proto, weights
from netc.errors import NetcError
from netc.weights.contents import contents
from netc.weights.formats.hdf5 import hdf5_image, hdf5_state_image

MOST = 64 << 20
"""Bytes that reading a damaged file of a few kilobytes may allocate. (A packed .npz may claim 1100 times its size.)"""


def arrays():
    rng = np.random.default_rng(6)
    return {"conv/a": [rng.random((4, 3, 2), "f4"), rng.random(4, "f4")], "fc": [rng.random((2, 9), "f4")]}


def current():
    net = proto.NetParameter(name="n", layer=[{"name": "data", "type": "Input"}, {"name": "conv/a"}, {"name": "fc"}])
    net.layer[1].convolution_param.kernel_size.append(3)
    file = io.BytesIO()
    weights.write_caffemodel(file, net, arrays(), {"fc": [np.ones((2, 9), "f4")]})
    return file.getvalue()


def old():
    """V1; the values of its last blob are not packed."""
    net = proto.NetParameter(name="n", input=["data"], input_dim=[1, 2, 3, 4])
    layer = net.layers.add(name="conv", type=4, blobs_lr=[1, 2])
    layer.blobs.add(num=1, channels=2, height=2, width=3, data=np.arange(12))
    layer.convolution_param.num_output = 3
    tagged = b"".join(b"\x2d" + np.float32(value).tobytes() for value in range(3))
    blob = b"\x08\x01\x10\x01\x18\x01\x20\x03" + tagged
    return net.SerializeToString() + b"\x12" + bytes([len(blob) + 8]) + b"\x22\x04last\x32" + bytes([len(blob)]) + blob


def oldest():
    net = proto.NetParameter(name="n")
    layer = net.layers.add().layer
    layer.name, layer.type, layer.num_output = "conv", "conv", 4
    layer.blobs.add(num=1, channels=1, height=2, width=5, data=np.arange(10))
    return net.SerializeToString()


def raw():
    """NVIDIA's halves, in a blob of its own."""
    return b"\x3a\x04\x0a\x02\x03\x05\x50\x02\x62\x1e" + np.arange(15, dtype="<f2").tobytes()


def state():
    file = io.BytesIO()
    weights.write_solverstate(file, weights.SolverState(3, "x.caffemodel", arrays()["conv/a"], 1))
    return file.getvalue()


def npz(write):
    file = io.BytesIO()
    write(file, **{f"{name}/{i}": array for name, blobs in arrays().items() for i, array in enumerate(blobs)})
    return file.getvalue()


def tensors():
    named = {f"{name}.{i}": array for name, blobs in arrays().items() for i, array in enumerate(blobs)}
    return save(named, {"card": "{}"})


FILES = {
    "current": current,
    "V1": old,
    "V0": oldest,
    "raw halves": raw,
    "solverstate": state,
    "safetensors": tensors,
    "npz": lambda: npz(np.savez),
    "packed npz": lambda: npz(np.savez_compressed),
    "hdf5": lambda: hdf5_image(arrays(), arrays()),
    "hdf5 state": lambda: hdf5_state_image(weights.SolverState(3, "x", arrays()["fc"], 1)),
}
SLOW_TO_OPEN = ("hdf5", "hdf5 state", "npz", "packed npz")
READERS = (
    lambda data: weights.read(data, diffs=True),
    weights.read_blob,
    weights.read_solverstate,
    weights.read_layers,
    weights.read_net,
    contents,
)


@cache
def good(name):
    return FILES[name]()


def read_all(data):
    """How many readers accept the bytes."""
    return sum(accepted(read, data) for read in READERS)


def accepted(read, data):
    """Anything but an error of ours about these bytes escapes."""
    try:
        read(data)
    except NetcError as error:
        if error.code[0] not in "WX" or error.path != "<bytes>" or not str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("name", FILES)
def test_the_good_files_are_read(name):
    assert read_all(good(name)) >= 2
    held = [one.array for part in contents(good(name)).parts for one in part.held]
    assert held
    assert all(np.isfinite(array).all() for array in held)


def cuts(name, step):
    data = good(name)
    for size in range(0, len(data), step):
        read_all(data[:size])


def flips(name, count, most=1):
    data, rng = good(name), random.Random(name)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(rng.randint(1, most)):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        read_all(bytes(changed))


@pytest.mark.parametrize("name", FILES)
def test_files_cut_short(name):
    """At every byte; where the library takes its time to open a file, at some."""
    cuts(name, 97 if name in SLOW_TO_OPEN else 1)


@pytest.mark.parametrize("name", FILES)
def test_flipped_bits(name):
    tracemalloc.start()
    flips(name, 60 if name in SLOW_TO_OPEN else 300, most=3)
    assert tracemalloc.get_traced_memory()[1] < MOST
    tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_files_cut_at_every_byte_and_ten_thousand_flipped_bits(name):
    cuts(name, 1)
    flips(name, 10_000)


@pytest.mark.parametrize(
    "junk", [b"", b"\x00", b"\xff" * 9, b"\x08\x01", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"{" * 20]
)
def test_junk(junk):
    assert read_all(junk) <= 3  # two bytes are an empty blob, and a solver state of no history
