"""A flat folder of pictures whose classes stand in a devkit's ground truth, as ImageNet's validation set comes.

The devkit numbers classes in an order of its own, from 1; labels count from 0 in the order of the sorted synsets, as
the folders of the training set give them and Caffe's train.txt and val.txt have them. So a number of the ground truth
is a label only by way of its synset.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from netc.errors import NetcError, Place, counted
from netc.files.opening import read_bytes
from netc.runtime.imageset.matlab import is_matlab, variables
from netc.runtime.imageset.sources import EXTENSIONS, ListedImage, Listing, missing

MOST = 64 << 20
_NUMBER = re.compile(r"(\d{1,12})$")
_SYNSET = re.compile(r"n\d{8}")


def from_ground_truth(root: Path, truth: Path, synsets: Path, classes: Sequence[str]) -> Listing:
    """The pictures of the folder `root`, labelled by their numbers: the class of ILSVRC2012_val_00000293.JPEG is what
    line 293 of `truth` says, a number that `synsets` tells the synset of; its label is the synset's place in `classes`.

    Raises F140 (a file or folder is missing), D541 (no picture), D549 (a file that is not what it should be, a picture
    without a line, two pictures of one number), D545 (synsets that are not among `classes`).
    """
    numbers = _ground_truth(truth)
    names = _synsets(synsets)
    labels = {synset: label for label, synset in enumerate(classes)}
    for synset in sorted({_named(number, names, truth, synsets) for number in numbers}):
        if synset not in labels:
            message = f'the synset "{synset}" of the ground truth is none of the {len(labels)} given classes'
            raise NetcError("D545", message, Place(str(synsets)), "give the labels file of the training database")
    pictures = _numbered(root)
    if (last := max(pictures)) > len(numbers) or min(pictures) < 1:
        wrong = pictures[last] if last > len(numbers) else pictures[min(pictures)]
        message = f"{wrong} has no line: the ground truth has {len(numbers):,} lines"
        raise NetcError("D549", message, Place(str(truth)), "is it the ground truth of this folder?")
    entries = tuple(ListedImage(name, labels[names[numbers[n - 1]]], n) for n, name in sorted(pictures.items()))
    return Listing(root, entries, range(len(entries)), tuple(classes))


def _numbered(root: Path) -> dict[int, str]:
    """The pictures by the numbers that their names end in."""
    if not root.is_dir():
        raise missing(root, "folder with the pictures")
    found: dict[int, str] = {}
    for name in sorted(entry.name for entry in os.scandir(root) if entry.is_file()):
        stem, extension = os.path.splitext(name)
        if name.startswith(".") or extension.lower() not in EXTENSIONS:
            continue
        match = _NUMBER.search(stem)
        if match is None:
            message = f'the name "{name}" does not end in a number, so its line of the ground truth is not known'
            raise NetcError("D549", message, Place(str(root)), "ILSVRC2012_val_00000293.JPEG is line 293")
        other = found.setdefault(int(match[1]), name)
        if other != name:
            raise NetcError("D549", f'"{other}" and "{name}" have the same number', Place(str(root)))
    if not found:
        folders = any(entry.is_dir() for entry in os.scandir(root))
        hint = "with a folder for each class, --ground-truth is not needed" if folders else None
        raise NetcError("D541", "there is no picture in this folder", Place(str(root)), hint)
    return found


def _ground_truth(path: Path) -> list[int]:
    """A class's number a line."""
    numbers = []
    for number, line in enumerate(_lines(path, "ground truth"), 1):
        if not re.fullmatch(r"\s*\d{1,9}\s*", line, re.ASCII):
            place = Place(str(path), number, 1, max(1, len(line)), line)
            hint = "a line is a class's number; a list of names and labels is given as LISTFILE: ROOT LISTFILE DB"
            raise NetcError("D549", "this is not a line of a ground truth", place, hint)
        numbers.append(int(line))
    return numbers


def _synsets(path: Path) -> dict[int, str]:
    """The synsets by the devkit's numbers: its meta.mat, or lines of "n02119789 1 kit_fox"."""
    content = _read(path, "file of the synsets")
    return _of_matlab(content, path) if is_matlab(content) else _of_text(_lines(path, "file of the synsets"), path)


def _of_matlab(content: bytes, path: Path) -> dict[int, str]:
    rows = variables(content, str(path)).get("synsets")
    found: dict[int, str] = {}
    for row in rows if isinstance(rows, list) else ():
        number = row.get("ILSVRC2012_ID") if isinstance(row, dict) else None
        synset = row.get("WNID") if isinstance(row, dict) else None
        one = number[0] if isinstance(number, list) and len(number) == 1 else 0.5
        if float(one).is_integer() and isinstance(synset, str) and _SYNSET.fullmatch(synset):
            found[int(one)] = synset
    if not found:
        message = "there is no array of synsets with ILSVRC2012_ID and WNID in this MATLAB file"
        raise NetcError("D549", message, Place(str(path)), "the devkit's is data/meta.mat")
    return found


def _of_text(lines: Sequence[str], path: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) < 2 or not _SYNSET.fullmatch(words[0]) or not re.fullmatch(r"\d{1,9}", words[1], re.ASCII):
            place = Place(str(path), number, 1, max(1, len(line)), line)
            hint = 'a line is "n02119789 1 kit_fox": a synset and the devkit\'s number; meta.mat may be given as it is'
            raise NetcError("D549", "this line does not tell which number the devkit gives a synset", place, hint)
        found[int(words[1])] = words[0]
    return found


def _named(number: int, names: Mapping[int, str], truth: Path, synsets: Path) -> str:
    if number not in names:
        message = f"class {number} of {truth} is not among the {counted(len(names), 'synset')} of this file"
        raise NetcError("D549", message, Place(str(synsets)), "are both of one devkit?")
    return names[number]


def _lines(path: Path, what: str) -> list[str]:
    lines = os.fsdecode(_read(path, what)).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise NetcError("D549", f"the {what} is empty", Place(str(path)))
    return lines


def _read(path: Path, what: str) -> bytes:
    try:
        return read_bytes(path, MOST)
    except FileNotFoundError:
        raise missing(path, what) from None
