"""Flat folders labelled by a devkit: labels are the order of the sorted synsets, whatever numbers the devkit gives."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path

import lmdb
import pytest
from PIL import Image

from netc import proto
from netc.cli._main import run
from netc.errors import NetcError
from netc.runtime.imageset import from_ground_truth
from netc.runtime.imageset.matlab import variables
from tests.runtime.imageset.devkit import IDS, META, PLAIN_META, SYNSETS, write_devkit

TRUTH = [3, 1, 1, 2, 3, 2]
NAME = "ILSVRC2012_val_%08d.JPEG"


@pytest.fixture
def val(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A flat folder with a picture a line of TRUTH, a devkit and a labels file beside it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "val"
    folder.mkdir()
    for number in range(1, len(TRUTH) + 1):
        Image.new("RGB", (9, 7), (40 * number, 0, 0)).save(folder / (NAME % number))
    write_devkit(tmp_path / "kit", TRUTH)
    (tmp_path / "labels.txt").write_text("".join(f"{synset}\n" for synset in SYNSETS))
    return folder


def found(val: Path, synsets: str = "kit/data/meta.mat") -> dict[str, str]:
    """Synset by picture."""
    truth = Path("kit/data/ILSVRC2012_validation_ground_truth.txt")
    listing = from_ground_truth(val, truth, Path(synsets), SYNSETS)
    return {entry.name: SYNSETS[entry.label] for entry in listing.entries if entry}


def refused(val: Path, **files: str) -> NetcError:
    with pytest.raises(NetcError) as caught:
        found(val, **files)
    return caught.value


WANTED = {NAME % number: IDS[one] for number, one in enumerate(TRUTH, 1)}


def test_each_picture_has_the_class_of_its_line(val: Path) -> None:
    assert found(val) == WANTED


@pytest.mark.parametrize(
    "content", [META, PLAIN_META, b"n02100735 2 setter\nn02119789 1 kit_fox\nn01440764 3 a b c\n\n"]
)
def test_the_synsets_in_every_form(val: Path, content: bytes) -> None:
    Path("synsets").write_bytes(content)
    assert found(val, "synsets") == WANTED


def test_a_part_of_the_folder_keeps_its_classes(val: Path) -> None:
    """The line is told by the number in the name, not by the place among the files."""
    (val / (NAME % 1)).unlink()
    (val / (NAME % 4)).unlink()
    (val / ".DS_Store").touch()
    (val / "readme.txt").touch()
    assert found(val) == {name: synset for name, synset in WANTED.items() if name not in (NAME % 1, NAME % 4)}


def test_the_command_stores_what_was_found(val: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = "kit/data/ILSVRC2012_validation_ground_truth.txt"
    options = ["--ground-truth", truth, "--synsets", "kit/data/meta.mat", "--labels", "labels.txt", "--json"]
    assert run(["convert-imageset", "val", "val_lmdb", *options]) == 0
    assert json.loads(capsys.readouterr().out)["kept_as_they_were"] == len(TRUTH)
    with lmdb.open("val_lmdb", readonly=True) as env, env.begin() as txn:
        stored = {key[9:].decode(): SYNSETS[proto.Datum.FromString(value).label] for key, value in txn.cursor()}
    assert stored == WANTED
    assert Path("val_lmdb.labels.txt").read_text().split() == SYNSETS


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ground-truth", "x"], "--synsets too"),
        (["--ground-truth", "x", "--synsets", "y"], "--labels too"),
        (["--synsets", "y"], "give that too"),
    ],
)
def test_what_is_missing_is_asked_for(val: Path, options: list[str], said: str, capsys) -> None:
    assert run(["convert-imageset", "val", "val_lmdb", *options]) == 2
    assert said in capsys.readouterr().err


def test_a_list_and_a_ground_truth_are_one_too_many(val: Path, capsys) -> None:
    assert run(["convert-imageset", "val", "list.txt", "val_lmdb", "--ground-truth", "x", "--synsets", "y"]) == 2
    assert "LISTFILE or from --ground-truth" in capsys.readouterr().err


def test_a_picture_without_a_line(val: Path) -> None:
    Image.new("RGB", (9, 7)).save(val / (NAME % 7))
    error = refused(val)
    assert error.code == "D549"
    assert f"{NAME % 7} has no line: the ground truth has 6 lines" in error.message


@pytest.mark.parametrize(("name", "said"), [("cat.jpg", "does not end in a number"), ("x_2.JPEG", "the same number")])
def test_a_name_that_tells_no_line(val: Path, name: str, said: str) -> None:
    Image.new("RGB", (9, 7)).save(val / name)
    assert said in refused(val).message


def test_a_folder_of_folders(val: Path) -> None:
    for file in val.iterdir():
        file.unlink()
    (val / "n01440764").mkdir()
    error = refused(val)
    assert error.code == "D541"
    assert "--ground-truth is not needed" in str(error.hint)


@pytest.mark.parametrize("line", ["x", "-1", "n01440764", "a.jpg 3", "9" * 5000, ""])
def test_a_line_that_is_not_a_class(val: Path, line: str) -> None:
    Path("kit/data/ILSVRC2012_validation_ground_truth.txt").write_text(f"1\n{line}\n2\n")
    error = refused(val)
    assert (error.code, error.line) == ("D549", 2)


def test_a_class_that_no_synset_has(val: Path) -> None:
    Path("kit/data/ILSVRC2012_validation_ground_truth.txt").write_text("1\n7\n2\n3\n1\n1\n")
    assert "class 7 of kit/data" in refused(val).message


def test_a_synset_without_a_label(val: Path) -> None:
    """The devkit's fourth synset is not a leaf, and no training image is of it."""
    Path("kit/data/ILSVRC2012_validation_ground_truth.txt").write_text("1\n4\n2\n3\n1\n1\n")
    error = refused(val)
    assert error.code == "D545"
    assert "n00001740" in error.message


@pytest.mark.parametrize(
    "content", [b"", b"n01440764\n", b"1 n01440764\n", b"kit fox\n", META[:128], META[:200], b"\0" * 9]
)
def test_synsets_that_are_none(val: Path, content: bytes) -> None:
    Path("synsets").write_bytes(content)
    assert refused(val, synsets="synsets").code == "D549"


def test_what_is_not_there_is_named(val: Path) -> None:
    error = refused(val, synsets="kit/data/meta.mta")
    assert (error.code, error.hint) == ("F140", 'did you mean "kit/data/meta.mat"?')


def test_damaged_matlab_files_are_errors_and_nothing_else() -> None:
    """Bytes changed, and files cut off, at random places."""
    chance = random.Random(1)
    for _ in range(400):
        content = bytearray(chance.choice([META, PLAIN_META]))
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(120, len(content))] = chance.randrange(256)
        cut = bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        with suppress(NetcError):
            variables(cut, "meta.mat")
