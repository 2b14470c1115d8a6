"""HDF5 files made to hurt: links out of the file, sizes that nothing backs, damaged bytes."""

from __future__ import annotations

import os
import random
import signal
import sys
import zlib
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from netc import weights
from netc.errors import NetcError
from netc.weights.card import read_card
from netc.weights.contents import contents
from netc.weights.formats.hdf5 import hdf5_image, hdf5_state_image
from tests.effort import at_most
from tools.fuzzing.guard import limits

h5py = pytest.importorskip("h5py")


def refused(path, code, read=weights.read):
    with pytest.raises(NetcError) as caught:
        read(path)
    assert caught.value.code == code
    return caught.value.message


def layer(path):
    file = h5py.File(path, "w")
    return file, file.create_group("data").create_group("fc")


def test_links_are_not_followed(tmp_path):
    (tmp_path / "other.h5").write_bytes(hdf5_image({"fc": [np.ones(3, "f4")]}))
    for number, link in enumerate((h5py.ExternalLink("other.h5", "/data/fc/0"), h5py.SoftLink("/data/fc"))):
        path = tmp_path / f"{number}.h5"
        file, group = layer(path)
        group["0"] = link
        file.close()
        assert '"0" is a link' in refused(path, "W702")


def test_sizes_must_be_backed_by_the_file(tmp_path):
    file, group = layer(tmp_path / "bomb.h5")
    group.create_dataset("0", shape=(2**20, 2**12), dtype="f4")  # 16 GiB, none of it written
    file.close()
    assert "17,179,869,184 bytes" in refused(tmp_path / "bomb.h5", "W704")
    (tmp_path / "raw").write_bytes(bytes(400))
    file, group = layer(tmp_path / "external.h5")
    group.create_dataset("0", shape=(100,), dtype="f4", external=[(str(tmp_path / "raw"), 0, 400)])
    file.close()
    refused(tmp_path / "external.h5", "W704")


@pytest.mark.parametrize("place", ["data", "data/fc", "data/fc/0", "diff", "history", "history/0", "iter", "netc"])
@pytest.mark.parametrize("kind", ["to a pipe", "to itself", "to nothing", "virtual", "external"])
def test_no_other_file_is_opened(tmp_path, place, kind):
    """A pipe that is opened blocks: the test would not end."""
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name in ("data/fc/0", "history/0"):
            file[name] = np.ones(3, "f4")
        file["iter"], file["current_step"] = np.array([1], "i4"), np.array([0], "i4")
        file["learned_net"] = np.bytes_(b"x")
        if place in file:
            del file[place]
        _plant(file, place, kind)
    for read in (weights.read, weights.read_solverstate, contents, read_card):
        with suppress(NetcError), alarm(10):
            read(tmp_path / "x.h5")
    with suppress(NetcError), alarm(10):
        weights.read(tmp_path / "x.h5", diffs=True)


def _plant(file, place, kind):
    links = {
        "to a pipe": h5py.ExternalLink("pipe", "/data"),
        "to itself": h5py.SoftLink("/" + place),
        "to nothing": h5py.SoftLink("/none"),
    }
    if kind in links:
        file[place] = links[kind]
    elif kind == "virtual":
        layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
        layout[:] = h5py.VirtualSource("pipe", "data", shape=(3,))
        file.create_virtual_dataset(place, layout)
    else:
        file.create_dataset(place, shape=(1,), dtype="f4", external=[("pipe", 0, 4)])


@contextmanager
def alarm(seconds):
    signal.alarm(seconds)  # its default action ends the tests
    yield
    signal.alarm(0)


def test_megabytes_of_zeros_are_not_unpacked(tmp_path):
    """Before anything is allocated: 2.5 gigabytes in four arrays, 10 in one, a chunk that is larger than its array."""
    kinds = {"a": [(160_000_000,)] * 4, "b": [(2_500_000_000,)], "c": [(1,)]}
    for name, shapes in kinds.items():
        path = tmp_path / name
        file, group = layer(path)
        for number, shape in enumerate(shapes):
            chunks = (1 << 20,) if name != "c" else (1 << 29,)
            more = {"chunks": chunks, "maxshape": (None,), "compression": "gzip", "fillvalue": 1}
            _pack(group.create_dataset(str(number), shape, "f4", **more), chunks[0])
        file.close()
        assert path.stat().st_size < 20 << 20
        with at_most(200), limits():
            refused(path, "W704")


def _pack(data, chunk):
    """The same packed chunk everywhere, without packing it each time."""
    zeros = zlib.compress(bytes(4 << 20), 9) if chunk == 1 << 20 else b"x" * 9
    for start in range(0, data.shape[0], chunk):
        data.id.write_direct_chunk((start,), zeros)


def test_compressed_arrays_are_read(tmp_path):
    file, group = layer(tmp_path / "gz.h5")
    group.create_dataset("0", data=np.arange(5000, dtype="f4") % 3, compression="gzip")
    file.close()
    (array,) = weights.read(tmp_path / "gz.h5")["fc"]
    assert np.array_equal(array, np.arange(5000) % 3)


@pytest.mark.parametrize("names", [["0", "x"], ["0", "99999"], ["0", "00"]], ids=str)
def test_names_of_arrays(tmp_path, names):
    file, group = layer(tmp_path / "w.h5")
    for name in names:
        group.create_dataset(name, data=np.ones(2, "f4"))
    file.close()
    refused(tmp_path / "w.h5", "W702")


def test_what_is_not_caffes(tmp_path):
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["images"] = np.ones((4, 3), "f4")
    assert 'it has no "data"' in refused(tmp_path / "train.h5", "W702")
    with h5py.File(tmp_path / "input.h5", "w") as file:
        file["data"] = np.ones((4, 3), "f4")
    assert '"data" is not a group' in refused(tmp_path / "input.h5", "W702")
    file, group = layer(tmp_path / "ints.h5")
    group["0"] = np.arange(3)
    file.close()
    refused(tmp_path / "ints.h5", "W702")
    refused(tmp_path / "ints.h5", "W702", weights.read_solverstate)


def test_damaged_bytes_never_escape(tmp_path):
    state = weights.SolverState(3, "x.caffemodel.h5", [np.ones((2, 3), "f4")], 1)
    images = {
        weights.read: hdf5_image({"fc": [np.ones((2, 3), "f4"), np.ones(2, "f4")], "relu": []}),
        weights.read_solverstate: hdf5_state_image(state),
    }
    rng = random.Random(5)
    path = tmp_path / "damaged.h5"
    refused_count = 0
    for read, image in images.items():
        for _ in range(200):
            data = bytearray(image)
            for _ in range(rng.choice((1, 4, 16))):
                data[rng.randrange(len(data) // 2)] = rng.randrange(256)
            path.write_bytes(data)
            try:
                read(path)
            except NetcError as error:
                refused_count += error.code.startswith("W7")
    assert refused_count > 50


def test_without_h5py_the_remedy_is_named(tmp_path, monkeypatch):
    (path := tmp_path / "w.h5").write_bytes(hdf5_image({"fc": [np.ones(2, "f4")]}))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(NetcError) as caught:
        weights.read(path)
    assert (caught.value.code, caught.value.hint) == ("W707", "pip install 'netc[hdf5]'")


def state_file(path):
    path.write_bytes(hdf5_state_image(weights.SolverState(3, "x.caffemodel.h5", [np.ones((2, 3), "f4")], 1)))
    return path


def elsewhere(file, name, shape, kind):
    del file[name]
    file.create_dataset(name, shape, kind, external=[("/etc/passwd", 0, 4 * int(np.prod(shape)))])


def linked(file, name, link):
    del file[name]
    file[name] = link


SPOILT = {
    "number elsewhere": lambda file: elsewhere(file, "iter", (1,), "i4"),
    "name elsewhere": lambda file: elsewhere(file, "learned_net", (1,), "S4"),
    "array elsewhere": lambda file: elsewhere(file, "history/0", (2, 3), "f4"),
    "number linked": lambda file: linked(file, "iter", h5py.SoftLink("/current_step")),
    "number in another file": lambda file: linked(file, "iter", h5py.ExternalLink("other.h5", "/iter")),
    "number linked to itself": lambda file: linked(file, "iter", h5py.SoftLink("/iter")),
    "history linked to itself": lambda file: linked(file, "history", h5py.SoftLink("/history")),
    "history in another file": lambda file: linked(file, "history", h5py.ExternalLink("other.h5", "/history")),
    "history is the file": lambda file: linked(file, "history", file["/"]),
    "number is a group": lambda file: linked(file, "iter", file["history"]),
    "name is a group": lambda file: linked(file, "learned_net", file["history"]),
    "many names": lambda file: linked(file, "learned_net", ["a", "b"]),
    "many numbers": lambda file: linked(file, "iter", [1, 2]),
    "a number as name": lambda file: linked(file, "learned_net", 7.5),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_solver_states_follow_nothing_out_of_the_file(tmp_path, kind):
    state_file(tmp_path / "other.h5")
    with h5py.File(state_file(tmp_path / "run.solverstate.h5"), "a") as file:
        SPOILT[kind](file)
    with pytest.raises(NetcError) as caught:
        weights.read_solverstate(tmp_path / "run.solverstate.h5")
    assert caught.value.code in ("W702", "W704")


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_layers_within_themselves(tmp_path, depth):
    """Hard links can make a circle; h5py follows it for ever."""
    file, group = layer(tmp_path / "w.h5")
    for _ in range(depth):
        group = group.create_group("in")
    group["again"] = file["data"]
    file.close()
    assert "groups" in refused(tmp_path / "w.h5", "W702")


def test_an_empty_dataset_is_said_in_words(tmp_path):
    path = str(tmp_path / "w.caffemodel.h5")
    with h5py.File(path, "w") as file:
        file.create_dataset("data/ip/0", data=h5py.Empty("f4"))
    with pytest.raises(NetcError, match="is empty: it has no shape"):
        weights.read(path)
