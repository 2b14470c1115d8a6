"""numpy's archives against numpy's own writer, and archives made to hurt."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from netc import weights
from netc.errors import NetcError
from netc.weights.formats import npz
from tests.effort import at_most
from tools.fuzzing.guard import limits

ARRAYS = {
    "inception_3a/1x1/0": np.arange(6, dtype="<f4").reshape(2, 3),
    "inception_3a/1x1/1": np.array([0.5, 1, 2]),
    "fc/0": np.asfortranarray(np.arange(20, dtype="<f4").reshape(4, 5)),
    "fc/1": np.float32(3).reshape(()),
    "big/0": np.arange(4, dtype=">f4"),
    "half/0": np.arange(3, dtype="<f2"),
    "empty/0": np.zeros((0, 4), "<f4"),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes(tmp_path, save):
    path = tmp_path / "w.npz"
    save(path, **ARRAYS)
    for source in (path, path.read_bytes()):
        found = weights.read(source)
        assert list(found) == ["inception_3a/1x1", "fc", "big", "half", "empty"]
        for key, expected in ARRAYS.items():
            layer, _, blob = key.rpartition("/")
            got = found[layer][int(blob)]
            assert got.shape == expected.shape
            assert np.array_equal(got, expected)


def test_stored_arrays_are_views(tmp_path):
    np.savez(tmp_path / "w.npz", **{"a/0": ARRAYS["inception_3a/1x1/0"]})
    (array,) = weights.read(tmp_path / "w.npz")["a"]
    assert not array.flags.owndata
    assert not array.flags.writeable


def archive(members, compress=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compress) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


GOOD = npy(np.ones(3, "f4"))


def flipped():
    data = bytearray(archive({"a/0.npy": GOOD}))
    data[data.index(GOOD) + len(GOOD) - 1] ^= 1
    return bytes(data)


REFUSED = {
    "another zip": ("W701", archive({"data.pkl": b"x", "version": b"3"})),
    "an empty zip": ("W702", archive({})),
    "another name": ("W706", archive({"arr_0.npy": GOOD})),
    "a name without a layer": ("W706", archive({"/0.npy": GOOD})),
    "a blob missing": ("W706", archive({"a/1.npy": GOOD})),
    "whole numbers": ("W741", archive({"a/0.npy": npy(np.arange(3))})),
    "objects": ("W741", archive({"a/0.npy": npy(np.array([{}], object))})),
    "values missing": ("W704", archive({"a/0.npy": GOOD[:-4]})),
    "packed, values missing": ("W704", archive({"a/0.npy": GOOD[:-4]}, zipfile.ZIP_DEFLATED)),
    "a huge shape": ("W704", archive({"a/0.npy": GOOD.replace(b"(3,), }      ", b"(3333333,), }")})),
    "no array": ("W702", archive({"a/0.npy": b"nothing at all"})),
    "a flipped bit": ("W702", flipped()),
    "the end missing": ("W702", archive({"a/0.npy": GOOD})[:-30]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    code, data = REFUSED[name]
    with pytest.raises(NetcError) as caught:
        weights.read(data)
    assert caught.value.code == code


def test_a_name_that_stands_twice():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("a/0.npy", GOOD)
        with pytest.warns(UserWarning, match="Duplicate"):
            target.writestr("a/0.npy", GOOD)
    with pytest.raises(NetcError, match="stands twice"):
        weights.read(file.getvalue())


def test_megabytes_of_zeros_are_not_unpacked(tmp_path):
    """Five gigabytes, of which each array alone may be what it says: refused before anything is unpacked."""
    np.savez_compressed(tmp_path / "x.npz", **{"fc/0": np.zeros(40_000_000, "f4")})
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        (packed,) = archive.infolist()
    raw = (tmp_path / "x.npz").read_bytes()
    begin = packed.header_offset + 30 + sum(int.from_bytes(raw[at : at + 2], "little") for at in (26, 28))
    raw = raw[begin : begin + packed.compress_size]
    assert weights.read(tmp_path / "x.npz")["fc"][0].shape == (40_000_000,)
    (tmp_path / "y.npz").write_bytes(_repeated(packed, raw, 32))
    assert (tmp_path / "y.npz").stat().st_size < 8 << 20
    with at_most(300), limits(), pytest.raises(NetcError) as caught:
        weights.read(tmp_path / "y.npz")
    assert caught.value.code == "W704"


def _repeated(packed, raw, count):
    """An archive of copies of one member, under other names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            info = zipfile.ZipInfo(f"fc/{number}.npy")
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
            info.header_offset, info.compress_type = file.tell(), packed.compress_type
            info.CRC, info.file_size, info.compress_size = packed.CRC, packed.file_size, packed.compress_size
            file.write(info.FileHeader() + raw)
            archive.start_dir = file.tell()
            archive._didModify = True
    return file.getvalue()


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("member", ["ip/0.npy", "netc.json"])
def test_packing_that_is_unpacked_without_a_bound_is_refused(tmp_path, packing, member):
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w", packing) as archive, archive.open(member, "w") as file:
        if member.endswith(".npy"):
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 24,)})
        for _ in range(64):
            file.write(bytes(1 << 20))
    buffer = path.read_bytes()
    tracemalloc.start()
    with pytest.raises(NetcError, match="packed by method") as caught:
        npz.read_text("w.npz", buffer, "netc") if member == "netc.json" else npz.read("w.npz", buffer)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == "W704"
    assert most < 1 << 20
