"""Lists of pictures as people have them, read alike by ImageData and by convert-imageset."""

from __future__ import annotations

import codecs
import os
import random

import numpy as np
import pytest

import netc
from netc.errors import NetcError
from netc.runtime.data import open_feed, probe
from netc.runtime.data.image_list import read_image_list, split_name
from netc.runtime.data.probing import DataProbe
from netc.runtime.imageset import Recipe, build, from_list, read_classes
from tests.runtime.data.made import encoded, photo

NAMES = ["c0/p0.png", "c1/p1.png"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two pictures in img/, of one colour each."""
    for number, name in enumerate([*NAMES, "c0/a b.png", "c0/it's 7.png", "c1/x 1"]):
        path = tmp_path / "img" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(8, 9, number), form="PNG").data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def layer_of(source, options="", batch=2):
    text = f"""layer {{ name: "d" type: "ImageData" top: "data" top: "label"
      image_data_param {{ source: "{source}" root_folder: "img/" batch_size: {batch} {options} }} }}"""
    return netc.compile_net(text, "TRAIN", probe=probe).nodes[0].layer


def by_layer(source, batch=2):
    feed = open_feed(layer_of(source, batch=batch), 0, 1)
    try:
        data, labels = feed.batch(0)
        assert list(labels.shape) == list(feed.shapes[1])
        return data.numpy().astype(np.uint8), labels.numpy().tolist()
    finally:
        feed.close()


def by_tool(folder, source, records):
    build(from_list(folder / "img", folder / source), folder / "db", Recipe())
    found = list(records(folder / "db").values())
    pixels = [np.frombuffer(d.data, np.uint8).reshape(d.channels, d.height, d.width) for d in found]
    return np.stack(pixels), [float(d.label) for d in found]


PLAIN = b"c0/p0.png 0\nc1/p1.png 1\n"
WRITTEN = {
    "plain": PLAIN,
    "no last end": PLAIN[:-1],
    "trailing blanks": b"c0/p0.png 0 \nc1/p1.png 1  \n",
    "trailing tab": b"c0/p0.png 0\t\nc1/p1.png 1\t \n",
    "tab": b"c0/p0.png\t0\nc1/p1.png\t1\n",
    "aligned": b"c0/p0.png    0\nc1/p1.png \t 1\n",
    "indented": b"  c0/p0.png 0\n\tc1/p1.png 1\n",
    "blank lines": b"\n\nc0/p0.png 0\n \t\nc1/p1.png 1\n\n\n",
    "Windows": b"c0/p0.png 0\r\nc1/p1.png 1\r\n",
    "old Mac": b"c0/p0.png 0\rc1/p1.png 1\r",
    "mixed ends": b"c0/p0.png 0\r\n\rc1/p1.png 1\n",
    "mark": codecs.BOM_UTF8 + PLAIN,
    "mark and Windows": codecs.BOM_UTF8 + PLAIN.replace(b"\n", b"\r\n"),
    "UTF-16": PLAIN.decode().encode("utf-16"),
    "UTF-16 of the other order": codecs.BOM_UTF16_BE + PLAIN.decode().encode("utf-16-be"),
    "quoted": b"\"c0/p0.png\" 0\n'c1/p1.png' 1\n",
    "some quoted": b'"c0/p0.png" 0\nc1/p1.png 1\n',
    "plus": b"c0/p0.png +0\nc1/p1.png 01\n",
    "a fraction of nothing": b"c0/p0.png 0.0\nc1/p1.png 1.\n",
    "slash in front": b"/c0/p0.png 0\n/c1/p1.png 1\n",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_however_a_list_is_written(folder, records, written):
    (folder / "list.txt").write_bytes(WRITTEN[written])
    wanted = np.stack([photo(8, 9, number)[..., ::-1].transpose(2, 0, 1) for number in (0, 1)])
    for pixels, labels in (by_layer("list.txt"), by_tool(folder, "list.txt", records)):
        assert np.array_equal(pixels, wanted)
        assert labels == [0, 1]


def test_absolute_names(folder, records):
    (folder / "list.txt").write_text("".join(f"{folder}/img/{name} {i}\n" for i, name in enumerate(NAMES)))
    assert by_layer("list.txt")[1] == by_tool(folder, "list.txt", records)[1] == [0, 1]


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        ("c0/p0.png\nc1/p1.png\n", [0, 0]),
        ("c0/p0.png 3\nc1/p1.png\n", [3, 0]),
        ("c0/p0.png -1\nc1/p1.png 255\n", [-1, 255]),
    ],
    ids=["none", "some", "negative"],
)
def test_labels_as_caffe_has_them(folder, records, lines, labels):
    (folder / "list.txt").write_text(lines)
    assert by_layer("list.txt")[1] == by_tool(folder, "list.txt", records)[1] == labels


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        ("c0/p0.png 0.5\nc1/p1.png -1.25e1\n", [0.5, -12.5]),
        ("c0/p0.png 0 1 1\nc1/p1.png\t1  0 0.5\n", [[0, 1, 1], [1, 0, 0.5]]),
        ('"c0/p0.png" 0 1\nc1/p1.png 1 0\n', [[0, 1], [1, 0]]),
        ("c0/p0.png 1 2\nc1/p1.png\n", [[1, 2], [0, 0]]),
    ],
    ids=["fractions", "several", "quoted", "some without"],
)
def test_labels_that_a_top_can_hold(folder, lines, labels):
    (folder / "list.txt").write_text(lines)
    assert by_layer("list.txt")[1] == labels


@pytest.mark.parametrize(
    ("line", "name", "labels"),
    [
        ("a b.png 3", "a b.png", ["3"]),
        ("a  b.png", "a  b.png", []),
        ("a b.PNG 3 -4", "a b.PNG", ["3", "-4"]),
        ("it's 7.png 3", "it's 7.png", ["3"]),
        ("x 1 2", "x 1", ["2"]),  # Caffe's rule: the last word
        ('"x 1" 2', "x 1", ["2"]),
        ('"x" 1 2', "x", ["1", "2"]),
        ("x", "x", []),
        ("a.tar/000012 5", "a.tar/000012", ["5"]),
        ("bücher/é.jpeg\t1", "bücher/é.jpeg", ["1"]),
        ("a\u00a0b.png 1", "a\u00a0b.png", ["1"]),  # a blank that does not break is part of the name
    ],
)
def test_where_a_name_ends(line, name, labels):
    assert split_name(line) == (name, labels)


def test_names_with_blanks(folder, records):
    (folder / "list.txt").write_text("c0/a b.png 2\nc0/it's 7.png 3\nc1/x 1 4\n")
    assert by_layer("list.txt", 3)[1] == by_tool(folder, "list.txt", records)[1] == [2, 3, 4]


def test_names_that_are_not_utf8(folder, records):
    os.rename(b"img/c0/p0.png", b"img/c0/\xe9.png")
    (folder / "list.txt").write_bytes(b"c0/\xe9.png 5\nc1/p1.png 1\n")
    assert by_layer("list.txt")[1] == by_tool(folder, "list.txt", records)[1] == [5, 1]


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("c0/gone.png", "img/c0/gone.png", None),
        (r"c0\p0.png", r"c0\p0.png", "backslashes"),
        ("c0/p0.png,1", "img/c0/p0.png,1", "commas"),
        ("c0/p0.png c1/p1.png", "p1.png", "a list and a layer each"),
        ("c1/y 0 1", "c1/y 0", "quotes"),
        ("/no/such.png", "/no/such.png", None),
    ],
    ids=["gone", "Windows", "comma", "two pictures", "several labels", "absolute"],
)
def test_what_is_said_of_a_missing_picture(folder, name, words, hint):
    """List, line and the paths that were tried."""
    label = "" if name[-1] == "1" else " 4"
    (folder / "list.txt").write_text(f"\n{name}{label}\n")
    with pytest.raises(NetcError) as by_layer:
        layer_of("list.txt")
    with pytest.raises(NetcError) as by_tool:
        build(from_list(folder / "img", folder / "list.txt"), folder / "db", Recipe())
    assert (by_layer.value.code, by_layer.value.path, by_layer.value.line) == ("D520", "list.txt", 2)
    assert "list.txt, line 2" in by_tool.value.message
    for found in (by_layer.value, by_tool.value):
        assert words in found.message
        assert hint is None or hint in found.hint


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "D531", "holds bytes that no text has"),
        (b"\x89HDF\r\n\x1a\n\0\0", "D531", "is an HDF5 file"),
        (b"\n \r\n\t\n", "D504", "empty"),
    ],
)
def test_what_is_not_a_list(folder, content, code, words):
    (folder / "list.txt").write_bytes(content)
    with pytest.raises(NetcError, match=words) as caught:
        layer_of("list.txt")
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_lists_without_an_end(folder, kind):
    if kind == "fifo":
        os.mkfifo("list.txt")
    else:
        os.symlink("/dev/zero" if kind == "device" else "/tmp", "list.txt")
    with pytest.raises(NetcError, match="not a regular file") as caught:
        layer_of("list.txt")
    assert caught.value.code == "F102"


def test_blank_lines_take_no_memory(folder):
    (folder / "list.txt").write_bytes(b"\n" * (1 << 22) + b"c0/p0.png 7")
    found = read_image_list("list.txt")
    assert (len(found), found.numbers.tolist(), found.place(0).line) == (1, [(1 << 22) + 1], (1 << 22) + 1)


def test_height_and_width_belong_together(folder):
    """Caffe's CHECK in image_data_layer.cpp, with or without data."""
    (folder / "list.txt").write_bytes(PLAIN)
    for known in (probe, None):
        text = """layer { name: "d" type: "ImageData" top: "data" top: "label" transform_param { crop_size: 4 }
          image_data_param { source: "list.txt" root_folder: "img/" batch_size: 1 new_height: 6 } }"""
        with pytest.raises(NetcError, match="together or not at all") as caught:
            netc.compile_net(text, "TRAIN", probe=known)
        assert "new_width" in caught.value.hint


@pytest.mark.parametrize("kind", ["Data", "ImageData", "HDF5Data", "WindowData"])
def test_a_layer_without_a_source(folder, kind):
    block = {"Data": "data", "ImageData": "image_data", "HDF5Data": "hdf5_data", "WindowData": "window_data"}[kind]
    transform = "" if kind == "HDF5Data" else "transform_param { crop_size: 4 }"
    text = f'layer {{ name: "d" type: "{kind}" top: "x" top: "y" {transform} {block}_param {{ batch_size: 1 }} }}'
    (folder / "net.prototxt").write_text(text)
    with pytest.raises(NetcError, match='"d" names no source') as caught:  # noqa: PT012
        net = netc.compile_net(str(folder / "net.prototxt"), "TRAIN", probe=DataProbe(str(folder / "net.prototxt")))
        open_feed(net.nodes[0].layer, 0, 1)  # WindowData needs no look at its data
    assert caught.value.code == "D503"


PIECES = [
    b"c0/p0.png",
    b"a b.png",
    b"\t",
    b" ",
    b"\n",
    b"\r",
    b"\r\n",
    b"0",
    b"-1",
    b"0.5",
    b"1e9",
    b"1e999",
    b'"',
    b"'",
]
PIECES += [b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc2\xa0", b"9" * 5000, b"nan", b"/", b"\\", b",", b"\x0b", b"\0"]


def what_comes_of(content):
    with open("list.txt", "wb") as file:
        file.write(content)
    try:
        return read_image_list("list.txt")
    except NetcError as error:
        return error


def test_any_bytes_give_a_list_or_an_error_that_names_it(folder):
    """Pieces of lists, thrown together."""
    rng = random.Random(3)
    contents = [b"".join(rng.choice(PIECES) for _ in range(rng.randrange(12))) for _ in range(3000)]
    found = [what_comes_of(content) for content in contents]
    errors = [one for one in found if isinstance(one, NetcError)]
    assert {(error.path, error.code) for error in errors} == {("list.txt", "D540"), ("list.txt", "D531")}
    lists = [one for one in found if not isinstance(one, NetcError)]
    assert len(lists) > 500
    for one in lists:
        assert len(one.names) == len(one.labels) == len(one.numbers)
        assert np.isfinite(one.labels.astype(np.float32)).all()
        assert all(one.names)
        assert [one.place(index).line for index in range(len(one))] == list(one.numbers)


def test_class_names(folder):
    for content in (b"cat\ndog\n", b"\xef\xbb\xbfcat \r\n\r\ndog", b"cat\rdog\r"):
        (folder / "names").write_bytes(content)
        assert read_classes(folder / "names") == ("cat", "dog")
    os.unlink("names")
    os.mkfifo("names")
    with pytest.raises(NetcError, match="not a regular file"):
        read_classes(folder / "names")


@pytest.mark.parametrize(
    ("label", "became"),
    [("99999999999", "99999997952"), ("-16777217", "-16777216"), ("9007199254740993", "9007199254740992")],
)
def test_whole_labels_that_float32_changes_are_refused(folder, label, became):
    """A float top holds each whole number up to 2^24, and some above."""
    (folder / "list.txt").write_text(f"c0/p0.png 1\n\nc1/p1.png {label}\n")
    with pytest.raises(NetcError) as caught:
        by_layer("list.txt")
    found = caught.value
    assert (found.code, os.path.basename(found.path), found.line, found.column) == ("D540", "list.txt", 3, 11)
    assert f"the label {label} would become {became}" in found.message


def test_one_of_several_labels_that_float32_changes(folder):
    (folder / "list.txt").write_text("c0/p0.png 7 33554433 33554433\nc1/p1.png 1 2 3\n")
    with pytest.raises(NetcError) as caught:
        by_layer("list.txt")
    assert [(one.line, one.column) for one in caught.value.errors] == [(1, 13), (1, 22)]


def test_large_labels_that_float32_holds(folder):
    (folder / "list.txt").write_text("c0/p0.png 33554432\nc1/p1.png 33554433.5\n")
    assert by_layer("list.txt")[1] == [2.0**25, 2.0**25]


@pytest.mark.parametrize("label", ["99999999999", "0.30", "1e11"])
def test_a_label_that_no_record_holds_is_shown_as_written(folder, label):
    (folder / "list.txt").write_text(f"c0/p0.png {label}\n")
    with pytest.raises(NetcError, match=rf"the label {label} is not a whole number") as caught:
        from_list(folder / "img", folder / "list.txt")
    assert (caught.value.line, caught.value.column) == (1, 11)
