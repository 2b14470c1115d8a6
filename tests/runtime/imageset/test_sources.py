"""Lists and folders: what is accepted, and what the errors say."""

from __future__ import annotations

import pytest

from netc.errors import NetcError
from netc.runtime.imageset import ListedImage, from_folders, from_list, read_classes
from netc.runtime.imageset.sources import check_labels


def listing(folder, text):
    (folder / "list.txt").write_bytes(text.encode())
    return from_list(folder, folder / "list.txt").entries


def test_label_is_after_the_last_blank_and_blank_lines_keep_their_number(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a b.jpg 3\r\n\nc.jpg\t007\n  d .jpg  +2\n\n")
    found = from_list(tmp_path, tmp_path / "list.txt")
    assert found.entries == (ListedImage("a b.jpg", 3, 1), ListedImage("c.jpg", 7, 3), ListedImage("d .jpg", 2, 4))
    assert list(found.numbers) == [0, 2, 3]


@pytest.mark.parametrize(
    "line, message",
    [
        ("a.jpg cat", '"cat" is not a label'),
        ("a.jpg nan", '"nan" is not a label'),
        ("a.jpg " + "9" * 400, "is not a label"),
        ("a.jpg 1e39", "is not a label"),
        ("a.jpg 1 2", "2 labels, but the lines before have 1"),
    ],
)
def test_bad_lines_are_all_reported_with_their_place(tmp_path, line, message):
    with pytest.raises(NetcError) as caught:
        listing(tmp_path, f"ok.jpg 1\n{line}\nx.jpg y\n")
    first, last = caught.value.errors
    assert (first.code, first.line, last.line) == ("D540", 2, 3)
    assert message in first.message
    assert f"list.txt:2:{first.column}: error[D540]" in str(first)


@pytest.mark.parametrize("label", ["0.5", "2147483648", "-2147483649", "1e20"])
def test_labels_that_a_datum_cannot_hold(tmp_path, label):
    """Datum.label is an int32; Caffe's atoi cuts them without a word."""
    with pytest.raises(NetcError, match="is not a whole number of 32 bits") as caught:
        listing(tmp_path, f"ok.jpg 1\na.jpg {label}\nb.jpg 0\n")
    assert (caught.value.code, caught.value.line) == ("D540", 2)


def test_several_labels_are_for_the_layer_alone(tmp_path):
    with pytest.raises(NetcError, match="2 labels: a record of a database holds one") as caught:
        listing(tmp_path, "a.jpg 1 0\n")
    assert "ImageData" in caught.value.hint


def test_labels_as_caffe_stores_them(tmp_path):
    entries = listing(tmp_path, "a.jpg -1\nb.jpg 2147483647\nc.jpg -2147483648\nd.jpg 3.0\ne.jpg\n")
    assert [entry.label for entry in entries] == [-1, 2**31 - 1, -(2**31), 3, 0]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_list(tmp_path, text):
    with pytest.raises(NetcError, match="names no picture") as caught:
        listing(tmp_path, text)
    assert caught.value.code == "D541"


def test_missing_names_are_guessed(tmp_path):
    (tmp_path / "train.txt").write_text("a 1")
    with pytest.raises(NetcError) as caught:
        from_list(tmp_path, tmp_path / "trian.txt")
    assert caught.value.exit_status == 66
    assert "train.txt" in caught.value.hint


def test_folder_form_needs_folders_and_pictures(tmp_path):
    with pytest.raises(NetcError, match="no sub-folder"):
        from_folders(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(NetcError, match="no picture in the 1 sub-folders"):
        from_folders(tmp_path)
    with pytest.raises(NetcError, match='"cat" is none of the 2 given classes'):
        from_folders(tmp_path, ("dog", "cow"))


def test_labels_file(tmp_path):
    (tmp_path / "names").write_text("dog\ncat\n")
    assert read_classes(tmp_path / "names") == ("dog", "cat")
    (tmp_path / "names").write_text("dog\ndog\n")
    with pytest.raises(NetcError, match='"dog" is there twice'):
        read_classes(tmp_path / "names")


def test_a_line_with_fewer_labels(tmp_path):
    with pytest.raises(NetcError, match="1 label, but the lines before have 2"):
        listing(tmp_path, "a.jpg 1 2\nb.jpg 1\n")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("-1 1", []),  # no classes' numbers
        ("-1 0 1", []),
        ("-1 1 2", ["labels that are not negative go from 1 to 2, but 1 of these 3 have no picture: 0"]),
        ("1 2", ["labels go from 1 to 2, but 1 of these 3 have no picture: 0"]),
        ("1", ["labels go from 1 to 1, but 1 of these 2 have no picture: 0"]),
    ],
)
def test_negative_labels_are_no_classes(tmp_path, labels, said):
    (tmp_path / "list").write_text("".join(f"a.jpg {label}\n" for label in labels.split()))
    found = check_labels(from_list(tmp_path, tmp_path / "list"))
    assert [one.removesuffix(" (Caffe counts classes from 0)") for one in found] == said
