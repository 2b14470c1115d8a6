"""A folder with a sub-folder a class (Caltech-101, Caltech-256, one's own), split at random by a seed.

Caltech-101 has 102 such folders and Caltech-256 has 257: each has one of pictures that show none of its objects
(BACKGROUND_Google, 257.clutter). It is a class like the others, as in the paper's counts. Their pictures lie in the
class's folder itself; what is deeper is none of them (056.dog/greg of Caltech-256).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from netc.errors import NetcError, Place, counted
from netc.runtime.imageset.sources import EXTENSIONS
from netc.runtime.net import rand
from netc.runtime.transfer.task import Item, Split, Task

INSIDE = ("101_ObjectCategories", "256_ObjectCategories")
"""What the archives of Caltech's sets unpack to."""


def folders(folder: Path, train: int, test: int | None, splits: int, seed: int, deep: bool = True) -> Task:
    """Mean class recall over `splits` random splits: `train` pictures of each class to train on, of the rest at most
    `test` to test on, or all (None). deep: pictures in folders below a class's own are of the class too.

    Raises NetcError D590 where the folder has no classes, or a class has no more than `train` pictures.
    """
    folder, classes = _inside(folder, deep)
    for name, names in classes.items():
        if len(names) <= train:
            message = f'class "{name}" has {counted(len(names), "picture")}: {train} to train on leave none to test on'
            raise NetcError("D590", message, Place(str(folder / name)), "give a smaller --train-per-class")
    counts = [len(names) for names in classes.values()]
    labels = np.full((sum(counts), len(classes)), -1, np.int8)
    labels[np.arange(len(labels)), np.repeat(np.arange(len(classes)), counts)] = 1
    made = [_split(counts, train, test, seed, index) for index in range(splits)]
    return Task(folder.name, list(classes), pictures(folder, deep), labels, made, "mean class recall")


def pictures(folder: Path, deep: bool = True) -> list[Item]:
    """All of them, class by class. Raises NetcError D590."""
    folder, classes = _inside(folder, deep)
    return [Item(key, str(folder / key)) for names in classes.values() for key in names]


def _inside(folder: Path, deep: bool) -> tuple[Path, dict[str, list[str]]]:
    """The folder of the classes, and of each class its pictures, named from there."""
    folder = next((folder / name for name in INSIDE if (folder / name).is_dir()), folder)
    classes = {name: _pictures(folder, name, deep) for name in _classes(folder)}
    if len(classes) < 2:
        raise NetcError("D590", "this is not a folder with a sub-folder a class", Place(str(folder)))
    return folder, classes


def _classes(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise NetcError("D590", f"the folder cannot be read: {error.strerror}", Place(str(folder))) from None


def _pictures(folder: Path, name: str, deep: bool) -> list[str]:
    found = []
    for place, inner, names in os.walk(folder / name):
        inner[:] = [one for one in inner if deep and not one.startswith(".")]
        found += [os.path.relpath(os.path.join(place, one), folder) for one in names if not one.startswith(".")]
    return sorted(key for key in found if os.path.splitext(key)[1].lower() in EXTENSIONS)


def _split(counts: list[int], train: int, test: int | None, seed: int, index: int) -> Split:
    first, chosen, rest = 0, [], []
    for label, count in enumerate(counts):
        order = first + np.asarray(rand.permutation(count, seed, "svm split", index, label))
        chosen.append(order[:train])
        rest.append(order[train : None if test is None else train + test])
        first += count
    return Split(np.concatenate(chosen), np.concatenate(rest))
