"""PASCAL VOC's lists as a devkit has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.errors import NetcError
from netc.runtime.transfer import voc


def devkit(folder: Path, lists: dict[str, str], kind: str = "Main") -> Path:
    (folder / "JPEGImages").mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets" / kind).mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (folder / "ImageSets" / kind / f"{name}.txt").write_text(text)
    return folder


MAIN = {
    "cat_trainval": "000012 -1\n000017  0\n000023  1\n",
    "dog_trainval": "000012  1\n000017 -1\n000023 -1\n",
    "cat_test": "000001  1\n000002 -1\n",
    "dog_test": "000001 -1\n000002  1\n",
    "cat_train": "000012 -1\n",
    "dog_train": "000012  1\n",
    "trainval": "000012\n000017\n000023\n",
}


def test_lists_of_classes(tmp_path: Path) -> None:
    task = voc.classification(devkit(tmp_path / "VOC2007", MAIN))
    assert task.name == "VOC2007 classification"
    assert (task.classes, task.measure, task.note) == (["cat", "dog"], "mean average precision", "")
    names = ["000012", "000017", "000023", "000001", "000002"]
    assert [item.key for item in task.items] == [f"JPEGImages/{name}.jpg" for name in names]
    assert task.items[0].path == str(tmp_path / "VOC2007" / "JPEGImages" / "000012.jpg")
    assert np.array_equal(task.labels, [[-1, 1], [0, -1], [1, -1], [1, -1], [-1, 1]])
    (split,) = task.splits
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1, 2], [3, 4])


def test_without_a_test_set(tmp_path: Path) -> None:
    lists = {name: text for name, text in MAIN.items() if "test" not in name}
    lists |= {"cat_val": "000023  1\n000017  0\n", "dog_val": "000023 -1\n000017 -1\n"}
    task = voc.classification(devkit(tmp_path / "VOC2012", lists))
    assert [item.picture for item in task.items] == [
        f"JPEGImages/{name}.jpg" for name in ("000012", "000017", "000023")
    ]
    assert "tested on val" in task.note


PERSON = """<annotation><source><database>The VOC2012 Database</database></source>
<object><name>person</name><bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
<object><name>person</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>
</annotation>"""


def action(folder: Path) -> Path:
    lists = {f"{name}_{part}": f"{part}_1 1 {mark}\n{part}_1 2 {-mark}\n" for part in ("train", "val")
             for name, mark in (("reading", 1), ("running", -1), ("other", 1))}  # fmt: skip
    devkit(folder, lists, "Action")
    (folder / "Annotations").mkdir()
    for part in ("train", "val"):
        (folder / "Annotations" / f"{part}_1.xml").write_text(PERSON)
    return folder


def test_actions_and_their_people(tmp_path: Path) -> None:
    task = voc.action(action(tmp_path / "VOC2012"))
    assert task.classes == ["reading", "running"]  # "other" is none of the actions
    rows = [f"JPEGImages/{part}_1.jpg {number}" for part in ("train", "val") for number in (1, 2)]
    assert [item.key for item in task.items] == rows
    assert task.items[0].box == (10, 20, 30, 40)  # counted from 1, both ends included
    assert task.items[1].box == (0, 1, 3, 4)
    assert np.array_equal(task.labels, [[1, -1], [-1, 1]] * 2)


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("cat_test", "000001 yes\n000002 1\n", "line of 2 words"),
        ("cat_test", "000001\n", "line of 2 words"),
        ("cat_test", "000001 1\n000001 1\n", "twice"),
        ("bird_test", "000001 1\n", "different classes"),
        ("cat_test", "000012 1\n", "in trainval and in test"),
    ],
)
def test_lists_that_are_not_vocs(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(NetcError, match=words) as caught:
        voc.classification(devkit(tmp_path / "VOC2007", MAIN | {name: text}))
    assert caught.value.code == "D590"


def test_a_folder_that_is_not_a_devkits(tmp_path: Path) -> None:
    for folder in (tmp_path / "nothing", devkit(tmp_path / "empty", {})):
        with pytest.raises(NetcError) as caught:
            voc.classification(folder)
        assert caught.value.code == "D590"


def test_a_person_that_the_picture_does_not_have(tmp_path: Path) -> None:
    folder = action(tmp_path / "VOC2012")
    (folder / "ImageSets" / "Action" / "reading_val.txt").write_text("val_1 3 1\n")
    with pytest.raises(NetcError, match="object 3 of this picture, and it has 2"):
        voc.action(folder)
