"""The data sets of appendix B by name, and the pictures of each for features."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from netc.errors import NetcError
from netc.runtime.data.decoding import Pixels, Undecodable, read_picture, size_of
from netc.runtime.evaluate.images import unusable
from netc.runtime.evaluate.sources import Record, Source, open_source
from netc.runtime.imageset.sources import EXTENSIONS
from netc.runtime.transfer import voc
from netc.runtime.transfer.folders import folders, pictures
from netc.runtime.transfer.task import PRECISION, RECALL, Item, Task


class Splits(NamedTuple):
    """Of a set without fixed ones: pictures of a class to train on, to test on at most (None: all the rest), and how
    often, with which seed."""

    train: int
    test: int | None
    times: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Set:
    """`splits`: the paper's, None where the set has its own. `read`: its task; `items`: all its pictures; `figure`: the
    one that its authors measure by; `classes`: how many it has, if that is known."""

    read: Callable[[Path, Splits], Task]
    items: Callable[[Path], Sequence[Item]]
    figure: str
    splits: Splits | None = None
    classes: int | None = None


def _random(train: int, test: int | None, classes: int | None = None) -> Set:
    deep = classes is None
    return Set(
        lambda folder, how: folders(folder, *how, deep),
        lambda folder: pictures(folder, deep),
        RECALL,
        Splits(train, test),
        classes,
    )


def _fixed(read: Callable[[Path], Task], classes: int, rule: str = "area") -> Set:
    figure = PRECISION.format(rule)
    return Set(lambda folder, _: read(folder), lambda folder: read(folder).items, figure, None, classes)


SETS = {
    "voc2007": _fixed(voc.classification, 20, "11-point"),
    "voc2012": _fixed(voc.classification, 20),
    "voc-action": _fixed(voc.action, 10),
    "caltech101": _random(30, 50, 102),
    "caltech256": _random(60, None, 257),
    "folder": _random(30, None),
}


def usual(name: str) -> Splits:
    """The paper's splits of a set; of one with its own, the seed of the images that C is chosen on."""
    return SETS[name].splits or Splits(0, None)


def task_of(name: str, folder: Path, how: Splits) -> Task:
    """The task of a set; one of another number of classes says so. Raises NetcError D590 and what reading it raises."""
    task, count = SETS[name].read(folder, how), SETS[name].classes
    if count in (None, len(task.classes)):
        return task
    note = f"the folder has {len(task.classes)} classes, and {name} has {count}"
    return replace(task, note="; ".join(filter(None, [task.note, note])))


# -- its pictures, for a net -------------------------------------------------------------------------------------------


def pictures_of(path: str, root: str | None = None, name: str | None = None) -> Source:
    """The pictures of a source: of a set by its name, in a folder without sub-folders, or as `open_source`.

    Raises NetcError D590 (a folder that is not the set's), D541 (a folder without pictures), and as `open_source`.
    """
    if name is not None:
        return ItemPictures(path, SETS[name].items(Path(path)))
    if flat := _flat(path):
        return ItemPictures(path, [Item(one, os.path.join(path, one)) for one in flat])
    return open_source(path, root)


def _flat(path: str) -> list[str]:
    """The pictures of a folder that has no sub-folders."""
    if not os.path.isdir(path):
        return []
    found = [entry for entry in os.scandir(path) if not entry.name.startswith(".")]
    if any(entry.is_dir() for entry in found):
        return []
    return sorted(one.name for one in found if os.path.splitext(one.name)[1].lower() in EXTENSIONS)


class ItemPictures(Source):
    """All pictures of items, and of those with a box what lies in it."""

    def __init__(self, path: str, items: Sequence[Item]) -> None:
        self.path = path
        whole = dict.fromkeys(Item(item.picture, item.path) for item in items)
        self.items = [*whole, *(item for item in items if item.box is not None)]

    def __len__(self) -> int:
        return len(self.items)

    def key(self, index: int) -> str:
        return self.items[index].key

    def record(self, index: int) -> Record:
        item = self.items[index]
        try:
            content = read_picture(item.path)
            size, sha = size_of(content), hashlib.sha256(content)
        except (OSError, Undecodable) as error:
            raise unusable(item.path, error) from None
        except NetcError as error:
            raise NetcError("D520", error.message, error.place, error.hint) from None
        if item.box is None:
            return Record(index, item.key, item.path, 0, sha.digest(), size, content)
        rows, columns = _inside(item, size)
        sha.update(repr((rows, columns)).encode())
        part = (rows.stop - rows.start, columns.stop - columns.start)
        return _Part(index, item.key, f"{item.path} ({item.part})", 0, sha.digest(), part, content, (rows, columns))


@dataclass(slots=True)
class _Part(Record):
    """What lies in a box: `cut` has its rows and columns."""

    cut: tuple[slice, slice]

    def pixels(self, color: bool) -> Pixels:
        return np.ascontiguousarray(Record.pixels(self, color)[self.cut])


def _inside(item: Item, size: tuple[int, int]) -> tuple[slice, slice]:
    """The box in whole pixels, cut at the picture's edges. Raises NetcError D520 where nothing of it is inside."""
    assert item.box is not None
    left, top, right, bottom = (round(edge) for edge in item.box)
    rows, columns = slice(max(0, top), min(size[0], bottom)), slice(max(0, left), min(size[1], right))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        found = f"the box {item.part} of {item.path} has no pixel of the picture, which has {size[1]} × {size[0]}"
        raise NetcError("D520", found)
    return rows, columns
