"""PASCAL VOC's image and action classification, from a devkit's folder as it is unpacked (VOCdevkit/VOC2007, VOC2012).

JPEGImages/000012.jpg
ImageSets/Main/aeroplane_trainval.txt     000012 -1      1: shows one, -1: shows none, 0: difficult ones alone
ImageSets/Action/reading_train.txt        2010_006215 1 -1     picture, its person by number from 1, label
Annotations/2010_006215.xml               where that person is
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.files.lines import numbered, read_text
from netc.runtime.imageset.boxes.xml import read_xml
from netc.runtime.transfer.task import Item, Split, Task

MAIN, ACTION = Path("ImageSets") / "Main", Path("ImageSets") / "Action"
PICTURES = "JPEGImages/{}.jpg"
OTHER = "other"
"""What a person does who does none of the actions: a label of VOC's, but none of the actions that its mean is over."""

HINT = "the folder is the year's own, such as VOCdevkit/VOC2007, with JPEGImages and ImageSets in it"

Marks = dict[str, int]
"""Key of an item → 1, 0 or -1."""


def classification(folder: Path) -> Task:
    """Which of 20 classes a picture shows: trained on `trainval`, tested on `test`; where there is no test set, as in
    VOC 2012 whose labels are not public, trained on `train` and tested on `val`.

    Raises NetcError D590 where the folder or a list is not as VOC ships it, and what reading a list raises.
    """
    sets, note = _sets(folder, MAIN, 2)
    marks = {part: _marks(folder, MAIN, part, 2, lambda words: words[0]) for part in sets}
    name = f"{folder.name} classification"
    return _task(name, folder, sets, marks, note, lambda key, picture: Item(picture, str(folder / picture)))


def action(folder: Path) -> Task:
    """What a person does, given their box: sets as in `classification`. Raises as it does, and D565 (boxes)."""
    sets, note = _sets(folder, ACTION, 3)
    marks = {part: _marks(folder, ACTION, part, 3, lambda words: f"{words[0]} {words[1]}") for part in sets}
    return _task(f"{folder.name} action", folder, sets, marks, note, lambda key, picture: _person(folder, key, picture))


def _sets(folder: Path, lists: Path, columns: int) -> tuple[tuple[str, str], str]:
    paths = [folder / lists / f"{name}_test.txt" for name in _classes(folder, lists, "test")]
    if any(_shows_one(path, columns) for path in paths):
        return ("trainval", "test"), ""
    why = "the lists of the test set have no labels" if paths else "there are no lists of a test set"
    return ("train", "val"), f"tested on val, trained on train: {why}"


def _shows_one(path: Path, columns: int) -> bool:
    """Whether a list has a line that says what a picture shows."""
    lines = (line.split() for _, line in numbered(read_text(str(path), "list of a class")))
    return any(len(words) == columns and words[-1] == "1" for words in lines)


def _classes(folder: Path, lists: Path, part: str) -> list[str]:
    end = f"_{part}.txt"
    try:
        names = os.listdir(folder / lists)
    except OSError as error:
        raise NetcError("D590", f"{folder / lists}: {error.strerror}", Place(str(folder)), HINT) from None
    return sorted(name.removesuffix(end) for name in names if name.endswith(end) and not name.startswith(OTHER + "_"))


def _marks(
    folder: Path, lists: Path, part: str, columns: int, key: Callable[[Sequence[str]], str]
) -> Mapping[str, Marks]:
    """Class → the marks of one set."""
    classes = _classes(folder, lists, part)
    if not classes:
        message = f"there are no lists of the set {part}"
        raise NetcError("D590", message, Place(str(folder / lists)), HINT)
    return {name: _list(folder / lists / f"{name}_{part}.txt", columns, key) for name in classes}


def _list(path: Path, columns: int, key: Callable[[Sequence[str]], str]) -> Marks:
    found: Marks = {}
    for number, line in numbered(read_text(str(path), "list of a class")):
        words = line.split()
        if len(words) != columns or words[-1] not in ("1", "0", "-1"):
            message = f"this is not a line of {columns} words, the last of them 1, 0 or -1"
            raise NetcError("D590", message, Place(str(path), number, 1), HINT)
        if key(words) in found:
            raise NetcError("D590", f"{key(words)} stands here twice", Place(str(path), number, 1), HINT)
        found[key(words)] = int(words[-1])
    return found


def _task(
    name: str,
    folder: Path,
    sets: tuple[str, str],
    marks: Mapping[str, Mapping[str, Marks]],
    note: str,
    item: Callable[[str, str], Item],
) -> Task:
    classes = sorted(marks[sets[0]])
    if classes != sorted(marks[sets[1]]):
        raise NetcError("D590", f"{' and '.join(sets)} have different classes", Place(str(folder)), HINT)
    keys = [sorted({key for found in marks[part].values() for key in found}) for part in sets]
    if both := sorted(set(keys[0]) & set(keys[1])):
        raise NetcError("D590", f"{both[0]} is in {sets[0]} and in {sets[1]}", Place(str(folder)), HINT)
    count = len(keys[0])
    rows = [_rows(marks[part], classes, wanted) for part, wanted in zip(sets, keys)]
    items = [item(key, PICTURES.format(key.split()[0])) for key in (*keys[0], *keys[1])]
    labels = np.concatenate(rows)
    split = Split(np.arange(count), np.arange(count, len(items)))
    return Task(name, classes, items, labels, [split], "mean average precision", note)


def _rows(marks: Mapping[str, Marks], classes: Sequence[str], keys: Sequence[str]) -> NDArray[np.int8]:
    """A picture that a class's list does not have counts as neither: VOC lists each picture in each class."""
    return np.array([[marks[name].get(key, 0) for name in classes] for key in keys], np.int8)


def _person(folder: Path, key: str, picture: str) -> Item:
    name, number = key.split()
    file = folder / "Annotations" / f"{name}.xml"
    boxes = read_xml(str(file)).boxes
    if not number.isdecimal() or not 1 <= int(number) <= len(boxes):
        message = f"the lists name object {number} of this picture, and it has {len(boxes)}"
        raise NetcError("D590", message, Place(str(file)), HINT)
    return Item(picture, str(folder / picture), boxes[int(number) - 1].edges, number)
