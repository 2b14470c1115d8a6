"""HDF5Data's lists and files: as people have them, and as somebody makes them who wishes netc ill."""

from __future__ import annotations

import codecs
import os
import tracemalloc
import zlib

import numpy as np
import pytest

import netc
from netc.check.facts import facts
from netc.errors import NetcError
from netc.runtime.data import open_feed, probe
from netc.runtime.data.hdf5_rows import Table, split_files

h5py = pytest.importorskip("h5py")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "h").mkdir()
    for name, first in (("a.h5", 0), ("b c.h5", 3)):
        with h5py.File(tmp_path / "h" / name, "w") as file:
            file["x"] = np.arange(first, first + 3, dtype="f4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def graph_of(source, batch=6):
    text = (
        f'layer {{ name: "d" type: "HDF5Data" top: "x" hdf5_data_param {{ source: "{source}" batch_size: {batch} }} }}'
    )
    return netc.compile_net(text, "TRAIN", probe=probe)


def rows(source, batch=6):
    return open_feed(graph_of(source, batch).nodes[0].layer, 0, 1).batch(0)[0].tolist()


@pytest.mark.parametrize(
    "content",
    [
        b"h/a.h5\nh/b c.h5\n",
        b"h/a.h5 \r\n\r\n\th/b c.h5\r\n",
        codecs.BOM_UTF8 + b"h/a.h5\rh/b c.h5",
        b"h/a.h5 h/b c.h5\n",
        b'"h/a.h5"\n"h/b c.h5"\n',
        "h/a.h5\nh/b c.h5\n".encode("utf-16"),
    ],
    ids=["plain", "Windows", "old Mac", "one line", "quoted", "UTF-16"],
)
def test_however_a_list_is_written(folder, content):
    (folder / "list").write_bytes(content)
    assert rows("list") == [0, 1, 2, 3, 4, 5]


def test_names_from_the_lists_folder(folder):
    (folder / "h" / "list").write_text("a.h5\n")
    assert rows("h/list", 3) == [0, 1, 2]


def test_words_are_names_where_no_name_ends_like_an_hdf5_file():
    """Caffe's rule; it reads word after word."""
    assert split_files("one two/three") == ["one", "two/three"]
    assert split_files("a.h5 b") == ["a.h5", "b"]


def test_an_hdf5_file_as_source(folder):
    for name in ("a.h5", "b c.h5"):
        with pytest.raises(NetcError, match="is an HDF5 file itself") as caught:
            graph_of(f"h/{name}")
        assert caught.value.code == "D531"
        assert "text file" in caught.value.hint


def test_a_file_of_matlab_as_source(folder):
    with h5py.File("v73.mat", "w", userblock_size=512) as file:
        file["x"] = [1.0]
    with pytest.raises(NetcError, match="is an HDF5 file itself"):
        graph_of("v73.mat")
    (folder / "list").write_text("v73.mat\n")
    assert rows("list", 1) == [1]


def test_a_missing_file_names_its_line(folder):
    (folder / "list").write_text("\nh/a.h5\nh/gone.h5\n")
    with pytest.raises(NetcError, match=r"gone\.h5") as caught:
        graph_of("list")
    assert (caught.value.code, caught.value.path, caught.value.line) == ("F120", "list", 3)


def refused(folder, make, name="bad.h5"):
    with h5py.File(folder / name, "w") as file:
        make(file)
    (folder / "list").write_text(f"{name}\n")
    with pytest.raises(NetcError) as caught:
        rows("list")
    assert caught.value.code == "D530"
    return caught.value.message


def virtual(file):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
    layout[:] = h5py.VirtualSource("h/a.h5", "x", shape=(3,))
    file.create_virtual_dataset("x", layout)


BAD = {
    "soft link": lambda file: file.__setitem__("x", h5py.SoftLink("/y")),
    "link to itself": lambda file: file.__setitem__("x", h5py.SoftLink("/x")),
    "link to another file": lambda file: file.__setitem__("x", h5py.ExternalLink("h/a.h5", "/x")),
    "a group": lambda file: file.create_group("x"),
    "the file itself": lambda file: file.__setitem__("x", file["/"]),
    "values elsewhere": lambda file: file.create_dataset("x", (100,), "f4", external=[("/etc/passwd", 0, 400)]),
    "virtual": virtual,
    "nothing written": lambda file: file.create_dataset("x", (2**20, 2**12), "f4"),
    "text": lambda file: file.__setitem__("x", ["a", "b"]),
    "one number": lambda file: file.__setitem__("x", 5.0),
    "nothing": lambda file: None,
    "compound": lambda file: file.create_dataset("x", (3,), [("a", "f4"), ("b", "i4")]),
    "a giant chunk": lambda file: file.create_dataset("x", (1 << 29, 2), "f4", chunks=(1 << 28, 2), compression="gzip"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_taken_from_a_file(folder, kind):
    refused(folder, BAD[kind])


def test_gigabytes_of_zeros_are_read_row_by_row(folder):
    """4 GiB that take 4 MB of disk: 256 chunks of 16 MiB."""
    chunk = zlib.compress(bytes(16 << 20), 9)
    with h5py.File(folder / "zeros.h5", "w") as file:
        data = file.create_dataset("x", (256 * 64, 1 << 16), "f4", chunks=(64, 1 << 16), compression="gzip")
        for number in range(256):
            data.id.write_direct_chunk((64 * number, 0), chunk)
    (folder / "list").write_text("zeros.h5\n")
    tracemalloc.start()
    feed = open_feed(graph_of("list", 3).nodes[0].layer, 0, 1)
    assert feed.size == 256 * 64
    assert feed.batch(70)[0].abs().sum() == 0
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, 50, 800, 1500])
def test_cut_files(folder, size):
    content = (folder / "h/a.h5").read_bytes()
    (folder / "cut.h5").write_bytes(content[:size])
    (folder / "list").write_text("cut.h5\n")
    with pytest.raises(NetcError) as caught:
        rows("list")
    assert caught.value.code == "D530"


@pytest.mark.parametrize("which", ["list", "h/a.h5"])
def test_pipes_are_not_waited_for(folder, which):
    (folder / "list").write_text("h/a.h5\n")
    os.unlink(which)
    os.mkfifo(which)
    with pytest.raises(NetcError) as caught:
        graph_of("list")
    assert caught.value.code == "F102"


def test_rows_in_any_order(folder):
    table = Table("h/a.h5", ["x"])
    for wanted in ([2, 0, 1], [1, 1], [0, 2], [1, 2], [2]):
        assert table.read(np.array(wanted))[0].tolist() == wanted


def test_kinds_of_numbers(folder):
    with h5py.File("k.h5", "w") as file:
        for kind in ("f2", "f4", "f8", ">f4", "i1", "u1", "i8", "bool"):
            file[kind] = np.array([1, 0, 1], kind)
    for kind in h5py.File("k.h5"):
        assert Table("k.h5", [kind]).read(np.arange(3))[0].tolist() == [1, 0, 1]


def test_many_labels_are_looked_at_in_part(folder, monkeypatch):
    monkeypatch.setattr("netc.runtime.data.hdf5_feed.MOST_LABELS", 4)
    (folder / "list").write_text("h/a.h5\nh/b c.h5\n")
    (found,) = facts(graph_of("list")).values()
    assert (found.size, found.labels, found.complete) == (6, {0: [0, 1, 2, 3]}, False)
