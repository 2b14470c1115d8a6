"""`netc convert-imageset` as a user types it."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from netc.cli import main


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/{cat,dog}/0.jpg and list.txt, in the working directory."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.effect_noise((30 + label, 20), 50).save(tmp_path / "photos" / name / "0.jpg")
    (tmp_path / "list.txt").write_text("cat/0.jpg 0\ndog/0.jpg 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "args",
    [
        ["--resize_height=12", "--resize_width=14", "--gray"],
        ["-resize_height", "12", "-resize_width", "14", "-gray=true", "-noshuffle", "-backend=lmdb"],
        ["--resize-height", "12", "--resize-width", "14", "--gray", "--encoded=false"],
    ],
)
def test_caffes_spellings(photos, capsys, args):
    assert main(["convert_imageset", *args, "photos/", "list.txt", "db", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sizes"] == [{"channels": 1, "height": 12, "width": 14, "pictures": 2}]
    assert (found["pictures"], found["kept_as_they_were"], found["labels"]) == (2, 0, {"0": 1, "1": 1})


def test_folder_form_and_its_summary(photos, capsys):
    assert main(["convert-imageset", "photos", "out/db"]) == 0
    out = capsys.readouterr().out
    assert "out/db: 2 of 2 pictures" in out
    assert "30-31×20" in out
    assert "2 files as they were, 0 written anew" in out
    assert (photos / "out" / "db.labels.txt").read_text() == "cat\ndog\n"


def test_missing_pictures_fail_unless_allowed(photos, capsys):
    (photos / "list.txt").write_text("cat/0.jpg 0\nno.jpg 1\n")
    assert main(["convert-imageset", "photos", "list.txt", "db"]) == 65
    err = capsys.readouterr().err
    assert "1 of 2 pictures were left out:\n  1: no such file\n    line 2: photos/no.jpg: no such file" in err
    assert main(["convert-imageset", "--allow-missing", "photos", "list.txt", "db2"]) == 0
    assert main(["convert-imageset", "photos", "list.txt", "db"]) == 73


def test_one_size_alone_is_not_used_as_in_caffe(photos, capsys):
    assert main(["convert-imageset", "--resize_height=12", "photos", "list.txt", "db"]) == 0
    captured = capsys.readouterr()
    assert "warning: not resized" in captured.err
    assert "30-31×20" in captured.out


def test_check_size(photos, capsys):
    assert main(["convert-imageset", "--check-size", "photos", "list.txt", "db"]) == 65
    assert "3×20×31" in capsys.readouterr().err
    assert not (photos / "db").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["--backend=leveldb"],
        ["--encode-type=xyz"],
        ["--encode-type=png", "--raw"],
        ["--short-side=8", "--resize-width=3", "--resize-height=3"],
        ["--quality=0"],
    ],
)
def test_wrong_usage(photos, capsys, args):
    assert main(["convert-imageset", *args, "photos", "list.txt", "db"]) == 2
    assert "error[C140]" in capsys.readouterr().err
    assert not (photos / "db").exists()


def test_number_of_names(capsys):
    assert main(["convert-imageset", "photos"]) == 2
    assert "1 names are given" in capsys.readouterr().err


def test_files_that_a_folder_form_passes_over_are_named(photos, capsys):
    for name in ("loose.jpg", "cat/notes.txt", "cat/.hidden"):
        (photos / "photos" / name).write_text("no picture of a class")
    assert main(["convert-imageset", "photos", "db"]) == 0
    out = capsys.readouterr().out
    assert "passed over          2 files not taken for pictures of a class: loose.jpg, cat/notes.txt" in out
    assert main(["convert-imageset", "photos", "db2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed_over"] == ["loose.jpg", "cat/notes.txt"]


@pytest.mark.parametrize("args", [["--workers=0"], ["--seed=-1"], ["--short-side=0"]])
def test_numbers_out_of_range_are_mistakes_of_use(photos, capsys, args):
    assert main(["convert-imageset", *args, "photos", "db"]) == 2
    assert args[0].partition("=")[0] in capsys.readouterr().err
    assert not (photos / "db").exists()


def test_a_labels_file_of_the_users_own_stays(photos, capsys):
    """The same names are no obstacle: they are left from a database that was removed."""
    (photos / "db.labels.txt").write_text("my notes\n")
    assert main(["convert-imageset", "photos", "db"]) == 73
    assert "error[O140]" in capsys.readouterr().err
    assert not (photos / "db").exists()
    assert (photos / "db.labels.txt").read_text() == "my notes\n"
    (photos / "db.labels.txt").write_text("cat\ndog\n")
    assert main(["convert-imageset", "photos", "db"]) == 0
