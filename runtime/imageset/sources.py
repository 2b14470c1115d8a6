"""What goes into a database: Caffe's list file, or a folder of folders, one a class."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from netc.errors import NetcError, Place, raise_all
from netc.files.paths import nearest_path
from netc.runtime.net import rand

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})
MAX_LABEL = 2**31 - 1
_LABEL = re.compile(r"\+?\d+")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One picture: `name` as written in the list, its label, and the line it stands on (0: found in a folder)."""

    name: str
    label: int
    line: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """All pictures of a database in the order of their numbers; None keeps the number of a blank line free.

    `classes`: the classes' names by label, where they are known. `passed_over`: files of a folder form, from `root`,
    that are not pictures by their names or lie in no class's folder.
    """

    root: Path
    entries: tuple[ListedImage | None, ...]
    classes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    def path(self, entry: ListedImage) -> Path:
        """Caffe joins root and name as they are; here a slash between them is one slash."""
        return self.root / entry.name.lstrip("/")

    def shuffled(self, seed: int) -> Listing:
        """The same pictures in an order that is a function of `seed`; blank lines are dropped, as numbers are new."""
        full = [entry for entry in self.entries if entry]
        return replace(self, entries=tuple(full[i] for i in rand.permutation(len(full), seed, "convert-imageset")))


def from_list(root: Path, list_file: Path) -> Listing:
    """Lines of `name label`: the label is the text after the last blank, as names may hold blanks.

    Raises F140 where a file is missing, D541 for a list without pictures, D540 for each label that is not a class.
    """
    _check_folder(root)
    try:
        lines = os.fsdecode(list_file.read_bytes()).split("\n")
    except (FileNotFoundError, IsADirectoryError):
        raise missing(list_file, "list file") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise NetcError("D541", "the list names no picture", Place(str(list_file)), 'a line is "picture.jpg 3"')
    return Listing(root, tuple(_entries(list_file, lines)))


def _entries(list_file: Path, lines: Sequence[str]) -> list[ListedImage | None]:
    entries: list[ListedImage | None] = []
    errors: list[NetcError] = []
    for number, line in enumerate(lines, 1):
        name, _, label = line.rstrip().replace("\t", " ").rpartition(" ")
        if not line.strip():
            entries.append(None)
        elif name.strip() and _LABEL.fullmatch(label) and int(label) <= MAX_LABEL:
            entries.append(ListedImage(line[: len(name)].rstrip("\t\r"), int(label), number))
        else:
            errors.append(_bad_line(list_file, number, line.rstrip(), label))
            if len(errors) == _SHOWN:
                break
    raise_all(errors)
    return entries


def _bad_line(list_file: Path, number: int, line: str, label: str) -> NetcError:
    blank = " " in line or "\t" in line
    place = Place(str(list_file), number, len(line) - len(label) + 1, max(1, len(label)), line)
    if not blank:
        return NetcError("D540", "no label", place, 'a line is "picture.jpg 3": a name, a blank, the class from 0')
    return NetcError("D540", f'"{label}" is not a label', place, f"labels are whole numbers from 0 to {MAX_LABEL}")


def from_folders(root: Path, classes: Sequence[str] = ()) -> Listing:
    """The pictures of each sub-folder of `root`, at any depth; label = the folder's place in `classes` or, without
    them, among the sorted names. Hidden files and files that are not pictures by their extension are passed over; the
    latter, and files in `root` itself, are noted in the result.

    Raises F140 where `root` is missing, D541 where nothing is found, D545 for a folder that `classes` lacks.
    """
    _check_folder(root)
    folders = sorted(f.name for f in os.scandir(root) if f.is_dir() and not f.name.startswith("."))
    if not folders:
        hint = "the form with a list is: netc convert-imageset ROOT LISTFILE DB"
        raise NetcError("D541", "there is no sub-folder here, and each class is one", Place(str(root)), hint)
    names = tuple(classes or folders)
    for folder in folders:
        if folder not in names:
            message = f'the folder "{folder}" is none of the {len(names)} given classes'
            raise NetcError("D545", message, Place(str(root)))
    files = {folder: list(_files(root, folder)) for folder in folders}
    entries = tuple(
        ListedImage(name, names.index(folder)) for folder in folders for name in files[folder] if _picture(name)
    )
    if not entries:
        raise NetcError("D541", f"no picture in the {len(folders)} sub-folders", Place(str(root)))
    loose = sorted(f.name for f in os.scandir(root) if not f.is_dir() and not f.name.startswith("."))
    others = [name for folder in folders for name in files[folder] if not _picture(name)]
    return Listing(root, entries, names, (*loose, *others))


def _picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _files(root: Path, folder: str) -> Iterator[str]:
    for parent, subfolders, files in os.walk(root / folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.relpath(os.path.join(parent, name), root)


def read_classes(path: Path) -> tuple[str, ...]:
    """The lines of a labels file (`DB.labels.txt`): the name of class 0, 1, …"""
    try:
        names = [line.strip() for line in os.fsdecode(path.read_bytes()).splitlines()]
    except (FileNotFoundError, IsADirectoryError):
        raise missing(path, "labels file") from None
    twice = [name for name, count in Counter(names).items() if count > 1 or not name]
    if twice or not names:
        raise NetcError("D545", f'"{twice[0]}" is there twice' if twice else "no class", Place(str(path)))
    return tuple(names)


def check_labels(listing: Listing) -> list[str]:
    """Warnings about labels that a net would not expect: classes without a picture."""
    used = {entry.label for entry in listing.entries if entry}
    count = len(listing.classes) or max(used) + 1
    absent = count - len(used)
    if not absent:
        return []
    first = [str(label) for label, _ in zip((n for n in range(count) if n not in used), range(8))]
    names = ", ".join(first) + (", …" if absent > len(first) else "")
    start = " (Caffe counts classes from 0)" if 0 not in used and absent == 1 else ""
    return [f"labels go from {min(used)} to {max(used)}, but {absent} of these {count} have no picture: {names}{start}"]


def missing(path: Path, what: str) -> NetcError:
    """F140, with the nearest name that is there."""
    found = "is a folder, not a file" if path.is_dir() else "does not exist"
    near = nearest_path(str(path))
    hint = f'did you mean "{near}"?' if near and os.path.basename(near) != path.name else None
    return NetcError("F140", f"the {what} {found}", Place(str(path)), hint)


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        if root.exists():
            hint = "the form with a list is: netc convert-imageset ROOT LISTFILE DB"
            raise NetcError(
                "F140", "this is not a folder; it should be the one with the pictures", Place(str(root)), hint
            )
        raise missing(root, "folder with the pictures")
