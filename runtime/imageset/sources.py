"""What goes into a database: Caffe's list file, or a folder of folders, one a class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from netc.errors import NetcError, Place, counted, printable, raise_all
from netc.files.lines import numbered, read_text
from netc.files.opening import is_there
from netc.files.paths import nearest_path
from netc.runtime.data.image_list import MAX_SHOWN, ImageList, existing, picture_paths, read_image_list
from netc.runtime.imageset.boxes.base import Annotation, Annotations
from netc.runtime.imageset.boxes.fitting import label_of
from netc.runtime.net import rand

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})
MAX_LABEL = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One picture: `name` as written in the list, its label, and the line it stands on (0: found in a folder)."""

    name: str
    label: int
    line: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """All pictures of a database, and the number of each, with which its key begins: a blank line's stays free.

    `classes`: the classes' names by label, where they are known. `passed_over`: files of a folder form, from `root`,
    that are not pictures by their names or lie in no class's folder. `file`: the list, "" for a folder form.
    `unlabelled`: the lines of the list without a label, whose pictures have label 0.
    """

    root: Path
    entries: tuple[ListedImage, ...]
    numbers: Sequence[int]
    classes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    file: str = ""
    unlabelled: Sequence[int] = ()

    def paths(self, entry: ListedImage) -> list[str]:
        """Where a picture may lie: below the root, an absolute name perhaps also as it is."""
        return picture_paths(os.path.join(self.root, ""), entry.name)

    def path(self, entry: ListedImage) -> Path:
        """The first of `paths` that exists, or else the first."""
        paths = self.paths(entry)
        return Path((existing(paths) if len(paths) > 1 else None) or paths[0])

    def shuffled(self, seed: int) -> Listing:
        """The same pictures in an order that is a function of `seed`, numbered anew."""
        count = len(self.entries)
        order = rand.permutation(count, seed, "convert-imageset")
        return replace(self, entries=tuple(self.entries[i] for i in order), numbers=range(count))


def from_list(root: Path, list_file: Path) -> Listing:
    """The pictures of a list (netc.runtime.data.image_list), whose names start from `root`.

    Raises F140 where a file is missing, D541 for a list without pictures, D540 for each label that a Datum cannot hold,
    and what reading the list raises.
    """
    _check_folder(root)
    if not list_file.is_file() and (list_file.is_dir() or not is_there(list_file)):
        raise missing(list_file, "list file")
    found = read_image_list(str(list_file))
    if not len(found):
        raise NetcError("D541", "the list names no picture", Place(str(list_file)), 'a line is "picture.jpg 3"')
    _check_whole(found)
    entries = zip(found.names, found.labels[:, 0].astype(np.int64).tolist(), found.numbers.tolist(), strict=True)
    return Listing(
        root,
        tuple(ListedImage(*entry) for entry in entries),
        [number - 1 for number in found.numbers.tolist()],
        file=str(list_file),
        unlabelled=found.unlabelled,
    )


def _check_whole(found: ImageList) -> None:
    """A Datum holds one label, a whole number of 32 bits."""
    if found.labels.shape[1] > 1:
        message = f"{found.labels.shape[1]} labels: a record of a database holds one"
        hint = "an ImageData layer reads several labels a line, HDF5Data any number"
        raise NetcError("D540", message, found.place(0), hint)
    labels = found.labels[:, 0]
    wrong = np.flatnonzero((labels != np.floor(labels)) | (np.abs(labels + 0.5) > MAX_LABEL + 0.5))
    raise_all([_not_whole(found, int(index)) for index in wrong[:MAX_SHOWN]])


def _not_whole(found: ImageList, index: int) -> NetcError:
    label, place = found.label(index)
    message = f"the label {label} is not a whole number of 32 bits"
    return NetcError("D540", message, place, "an ImageData layer reads fractions from its list")


def from_folders(root: Path, classes: Sequence[str] = ()) -> Listing:
    """The pictures of each sub-folder of `root`, at any depth; label = the folder's place in `classes` or, without
    them, among the sorted names. Hidden files and files that are not pictures by their extension are passed over; the
    latter, and files in `root` itself, are noted in the result.

    Raises F140 where `root` is missing, D541 where nothing is found, D545 for a folder that `classes` lacks.
    """
    _check_folder(root)
    folders = sorted(f.name for f in os.scandir(root) if f.is_dir() and not f.name.startswith("."))
    if not folders:
        hint = 'pictures without a folder for each class need a list, a line "picture.jpg 3" each'
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
    return Listing(root, entries, range(len(entries)), names, (*loose, *others))


def from_boxes(root: Path, annotations: Annotations, classes: Sequence[str] = ()) -> Listing:
    """The pictures that lie in `root` itself, in no class's folder: the class of each is that of its largest box, its
    label the class's place in `classes` or, without them, among the sorted names.

    A picture without a box that tells a class has label 0 and is left out later. Raises F140 where `root` is missing,
    D541 where nothing is found or no box has a class, D545 for a class that `classes` lacks.
    """
    _check_folder(root)
    listed = annotations.names()
    found = [f.name for f in sorted(os.scandir(root), key=lambda f: f.name) if f.is_file() and f.name[0] != "."]
    names = [name for name in found if _picture(name)] if listed is None else list(listed)
    told = [label_of(annotation) if (annotation := _read(annotations, name)) else None for name in names]
    known = tuple(classes) or tuple(sorted({name for name in told if name}))
    if not known:
        message = f"none of {counted(len(names), 'picture')} has a box that tells its class"
        hint = "with a list the labels are its own: netc convert-imageset ROOT LISTFILE DB --boxes …"
        raise NetcError("D541", message, Place(str(annotations.path)), hint)
    for name in told:
        if name and name not in known:
            message = f'the class "{printable(name)}" of a picture is none of the {len(known)} given classes'
            raise NetcError("D545", message, Place(str(annotations.path)))
    entries = tuple(ListedImage(name, known.index(own) if own else 0) for name, own in zip(names, told, strict=True))
    passed_over = tuple(name for name in found if name not in set(names))
    return Listing(root, entries, range(len(entries)), known, passed_over)


def _read(annotations: Annotations, name: str) -> Annotation | None:
    """None also for a file that is not what it should be: the picture is left out for that."""
    try:
        return annotations.of(name)
    except NetcError as error:
        if error.code != "D565":
            raise
        return None


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
    if not path.is_file() and (path.is_dir() or not is_there(path)):
        raise missing(path, "labels file")
    names = [line for _, line in numbered(read_text(str(path), "list of classes"))]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        raise NetcError("D545", f'"{twice[0]}" is there twice' if twice else "no class", Place(str(path)))
    return tuple(names)


def check_labels(listing: Listing) -> list[str]:
    """Warnings about labels that a net would not expect: classes without a picture, lines without a label."""
    return [*_absent(listing), *_unlabelled(listing)]


def _absent(listing: Listing) -> Iterator[str]:
    every = {entry.label for entry in listing.entries}
    used = {label for label in every if label >= 0}
    if len(used) == 1 < len(every):  # as {-1, 1}: these are not the numbers of classes
        return
    count = len(listing.classes) or max(used, default=-1) + 1
    absent = count - len(used)
    if absent > 0 and used:
        first = [str(label) for label, _ in zip((n for n in range(count) if n not in used), range(8))]
        names = ", ".join(first) + (", …" if absent > len(first) else "")
        start = " (Caffe counts classes from 0)" if 0 not in used and absent == 1 else ""
        kind = "labels" if used == every else "labels that are not negative"
        span = f"{kind} go from {min(used)} to {max(used)}"
        yield f"{span}, but {absent} of these {count} have no picture: {names}{start}"


def _unlabelled(listing: Listing) -> Iterator[str]:
    count = len(listing.unlabelled)
    if count:
        which = f"{count} of the {len(listing.entries)} lines" if count < len(listing.entries) else "all lines"
        first = listing.unlabelled[0]
        yield f"{which} of {listing.file} have no label, line {first} is the first: they get 0, as in Caffe"


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
