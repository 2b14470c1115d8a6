"""Values by the piece: the same as numpy's own, from every kind of array, in bounded memory, without SIGBUS."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from netc import proto, weights
from netc.errors import NetcError
from netc.weights import files
from netc.weights.pieces import _COPIED, PIECE, copied, fill, loaded, pieces


def stored(tmp_path, array, lead=3):
    """A view of a mapped file in which `array` begins at an odd byte."""
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.bin"
    path.write_bytes(b"\xff" * lead + array.tobytes() + b"tail")
    buffer = files.map_file(path)
    return np.frombuffer(buffer, array.dtype, array.size, lead).reshape(array.shape)


ARRAY = np.random.default_rng(4).standard_normal((7, 5, 3)).astype("<f4")


def arrays(tmp_path):
    tagged = np.zeros(ARRAY.size, np.dtype([("tag", "u1"), ("value", "<f4")]))
    tagged["value"] = ARRAY.ravel()
    return {
        "mapped": (stored(tmp_path, ARRAY), ARRAY),
        "mapped, a part": (stored(tmp_path, ARRAY)[2:5], ARRAY[2:5]),
        "mapped, turned": (stored(tmp_path, ARRAY).T, ARRAY.T),
        "mapped halves": (stored(tmp_path, ARRAY.astype("<f2")), ARRAY.astype("<f2")),
        "mapped doubles": (stored(tmp_path, ARRAY.astype("<f8")), ARRAY.astype("<f8")),
        "in memory": (ARRAY, ARRAY),
        "bytes, not aligned": (np.frombuffer(b"x" + ARRAY.tobytes(), "<f4", ARRAY.size, 1), ARRAY.ravel()),
        "single values": (tagged["value"].reshape(ARRAY.shape), ARRAY),
        "none": (ARRAY[:0], ARRAY[:0]),
        "a number": (np.float32(2.5).reshape(()), np.float32(2.5)),
    }


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_pieces_are_the_values_in_order(tmp_path, count):
    for name, (array, expected) in arrays(tmp_path).items():
        found = [piece.copy() for piece in pieces(array, count) if piece.flags.aligned and piece.flags.c_contiguous]
        assert max(map(len, found), default=0) <= count, name
        joined = np.concatenate(found) if found else np.zeros(0)
        assert np.array_equal(joined, np.asarray(expected).ravel()), name


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_fill_and_loaded(tmp_path, dtype):
    for name, (array, expected) in arrays(tmp_path).items():
        got = loaded(array, dtype)
        assert got.dtype == dtype
        assert np.array_equal(got, np.asarray(expected).astype(dtype)), name
        turned = np.empty(array.shape[::-1], dtype).T
        fill(turned, array)
        assert np.array_equal(turned, np.asarray(expected).astype(dtype)), name


def copy_of(tmp_path, array, monkeypatch, change=lambda piece: piece):
    """How many values `copied` says came back with other bits, and the values that are in the file then; `change`: what
    the disk makes of what it is given."""
    path = tmp_path / "copy.bin"
    path.write_bytes(b"\xff" * (array.nbytes + 1))
    place = np.frombuffer(files.map_file(path), array.dtype, array.size, 1)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, piece, at: write(handle, change(bytes(piece)), at))
    with path.open("r+b") as file:
        return copied(array, place, file.fileno()), np.frombuffer(path.read_bytes(), array.dtype, array.size, 1)


@pytest.mark.parametrize("size", [1, _COPIED, 2 * _COPIED + 5])
def test_what_is_copied_is_read_back(tmp_path, monkeypatch, size):
    values = np.random.default_rng(1).integers(0, 1 << 32, size, "u4").view("<f4")  # NaN of all kinds among them
    differing, found = copy_of(tmp_path, stored(tmp_path, values), monkeypatch)
    assert differing == 0
    assert found.tobytes() == values.tobytes()


def test_a_disk_that_changes_bits_is_found(tmp_path, monkeypatch):
    """-0 for 0 and one NaN for another: equal as numbers, or never equal, and so told apart by their bits alone."""
    values = np.zeros(2 * _COPIED + 5, "<f4")
    values[3:5] = np.nan

    def change(piece):
        changed = np.frombuffer(piece, "u4").copy()
        changed[3] ^= 1
        changed[-1] ^= 1 << 31
        return changed.tobytes()

    assert copy_of(tmp_path, stored(tmp_path, values), monkeypatch, change)[0] == 2 * 3


def test_values_larger_than_a_piece(tmp_path):
    halves = (np.arange(PIECE + 77) % 2048).astype("<f2")
    assert np.array_equal(loaded(stored(tmp_path, halves)), np.arange(PIECE + 77) % 2048)


def model(path, count=5000):
    values = np.arange(count, dtype="<f4")
    weights.write_caffemodel(path, proto.NetParameter(layer=[{"name": "fc"}]), {"fc": [values]})
    return values


def test_a_file_truncated_while_it_is_open_is_an_error(tmp_path):
    """Through the map it would be SIGBUS, which no program survives."""
    path = tmp_path / "w.caffemodel"
    model(path)
    found = weights.read(path)
    os.truncate(path, 4000)
    tensor = torch.zeros(5000)
    for use in (lambda: list(pieces(found["fc"][0])), lambda: weights.copy_weights({"fc": [tensor]}, found)):
        with pytest.raises(NetcError) as caught:
            use()
        assert (caught.value.code, caught.value.path) == ("X110", str(path))
        assert "it ends at byte 4,000 now" in caught.value.message


def test_a_file_replaced_while_it_is_open_stays_what_it_was(tmp_path):
    """A snapshot is renamed over the old one: the open file is still the old one."""
    path = tmp_path / "w.caffemodel"
    values = model(path)
    found = weights.read(path)
    (tmp_path / "new").write_bytes(b"something else")
    os.replace(tmp_path / "new", path)
    assert np.array_equal(loaded(found["fc"][0]), values)


COPY = r"""
import re, sys
import numpy as np
import torch
from netc import weights
from netc.weights.match import copy_weights

def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])

tensor = torch.zeros(int(sys.argv[2])).add_(1)
before = peak()
copy_weights({"fc": [tensor]}, sys.argv[1])
print(peak() - before, float(tensor[-1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_copying_into_a_net_takes_no_second_copy(tmp_path):
    """80 MB of weights: the tensor is there before, the process grows by next to nothing."""
    path, count = tmp_path / "w.caffemodel", 20_000_000
    model(path, count)
    done = subprocess.run(
        [sys.executable, "-c", COPY, str(path), str(count)], capture_output=True, text=True, check=True
    )
    grown, last = done.stdout.split()
    assert int(grown) < 8_000
    assert float(last) == float(np.float32(count - 1))
