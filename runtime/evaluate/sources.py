"""Labelled pictures by position: of a database, a list, or a folder with a sub-folder a class; as yet undecoded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc import proto
from netc.errors import NetcError, Place, counted
from netc.files.opening import is_there
from netc.files.paths import nearest_path
from netc.runtime.data import opencv
from netc.runtime.data.database import open_database
from netc.runtime.data.datum import from_datum
from netc.runtime.data.decoding import Pixels, Undecodable, as_array, decode, read_picture, size_of
from netc.runtime.data.image_list import existing, picture_paths
from netc.runtime.evaluate.images import unusable
from netc.runtime.imageset.sources import Listing, from_folders, from_list, read_classes


@dataclass(slots=True)
class Record:
    """A picture as it is stored. `key`: what its source calls it; `name`: the same for messages. `sha256`: of all that
    its pixels come from; `size`: (height, width) upright."""

    index: int
    key: str
    name: str
    label: int
    sha256: bytes
    size: tuple[int, int]
    content: Any

    def pixels(self, color: bool) -> Pixels:
        """(H, W, 3 or 1). Raises NetcError D520."""
        try:
            if isinstance(self.content, bytes):
                return as_array(decode(self.content, color).pixels)
            return _colored(self.content, color)
        except Undecodable as error:
            raise unusable(self.name, error) from None


class Source:
    """Labelled pictures.

    `classes`: names by label, where they are known. `numbered`: whether these are folders in their own order.
    `remarks`: what should be said of the source.
    """

    path: str
    classes: Sequence[str] = ()
    numbered: bool = False
    remarks: Sequence[str] = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def key(self, index: int) -> str:
        """What the source calls a picture, readable or not."""
        raise NotImplementedError

    def record(self, index: int) -> Record:
        """Raises NetcError D520 where it cannot be read, or its header is no picture's."""
        raise NotImplementedError

    def empty(self, labels: Collection[int]) -> list[str]:
        """Names of its classes that are not among the labels of its pictures, where only these tell."""
        return []

    def close(self) -> None: ...


def open_source(path: str, root: str | None = None, classes: Sequence[str] = ()) -> Source:
    """What `--data` names: an LMDB or LevelDB, a folder with a sub-folder a class, or a list of pictures and labels,
    whose names start from `root`, else from the list's own folder or the working one.

    `classes`: names of the net's classes in order, by which sub-folders get their labels: the whole name, or its first
    word (a synset). Raises NetcError F140 (nothing there), D510, D540, D541, D545.
    """
    if os.path.isdir(path) and not _is_database(path):
        return _Files(_by_folders(Path(path), classes), not classes)
    if os.path.isdir(path) or os.path.basename(path) == "data.mdb":
        return _Database(path)
    check_there(path)
    return _Files(from_list(Path(root or os.path.dirname(path) or "."), Path(path)))


def check_there(path: str) -> None:
    """Raises NetcError F140 where there is nothing of that name to take pictures from."""
    if not is_there(path):
        near = nearest_path(path)
        hint = f'did you mean "{near}"?' if near else "a database, a list of pictures, or a folder of folders"
        raise NetcError("F140", f'there is no "{path}" to take pictures from', Place(path), hint)


def _is_database(path: str) -> bool:
    from netc.runtime.data.leveldb import is_leveldb

    return os.path.lexists(os.path.join(path, "data.mdb")) or is_leveldb(path)


class _Database(Source):
    def __init__(self, path: str) -> None:
        self.path, self.database = path, open_database(path)
        names = f"{path.rstrip('/')}.labels.txt"
        self.classes = read_classes(Path(names)) if os.path.isfile(names) else ()

    def __len__(self) -> int:
        return len(self.database)

    def key(self, index: int) -> str:
        return _called(self.database.record(index)[0])

    def record(self, index: int) -> Record:
        key, value = self.database.record(index)
        called = _called(key)
        name = f'"{key.decode("utf-8", "replace")}" of {self.path}'
        try:
            datum = proto.Datum.FromString(value)
        except Exception as error:  # protobuf's own kinds of error differ between its versions
            raise unusable(name, Undecodable(f"it is not a Datum ({error})")) from None
        try:
            if datum.encoded:
                return Record(index, called, name, datum.label, _sha(datum.data), size_of(datum.data), datum.data)
            planes = from_datum(key, value, None).planes
        except Undecodable as error:
            raise unusable(name, error) from None
        if planes.dtype != np.uint8 or len(planes) not in (1, 3):
            found = f"it holds {counted(len(planes), 'channel')} of {planes.dtype}, which is no picture"
            raise unusable(name, Undecodable(found))
        pixels = np.ascontiguousarray((planes[::-1] if len(planes) == 3 else planes).transpose(1, 2, 0))
        sha = _sha(repr(pixels.shape).encode() + pixels.tobytes())
        return Record(index, called, name, datum.label, sha, (pixels.shape[0], pixels.shape[1]), pixels)

    def empty(self, labels: Collection[int]) -> list[str]:
        return [name for label, name in enumerate(self.classes) if label not in labels]

    def close(self) -> None:
        self.database.close()


class _Files(Source):
    def __init__(self, listing: Listing, numbered: bool = False) -> None:
        self.numbered = numbered
        self.listing, self.path = listing, listing.file or str(listing.root)
        self.classes = listing.classes
        self.remarks = _remarks(listing)

    def __len__(self) -> int:
        return len(self.listing.entries)

    def key(self, index: int) -> str:
        return self.listing.entries[index].name

    def record(self, index: int) -> Record:
        entry = self.listing.entries[index]
        paths = [*self.listing.paths(entry), *picture_paths("", entry.name)]
        path = existing(paths) or paths[0]
        try:
            content = read_picture(path)
            return Record(index, entry.name, path, entry.label, _sha(content), size_of(content), content)
        except (OSError, Undecodable) as error:
            raise unusable(path, error) from None
        except NetcError as error:
            raise NetcError("D520", error.message, error.place, error.hint) from None


def _called(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")


def _sha(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _colored(pixels: Pixels, color: bool) -> Pixels:
    if color:
        return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
    return opencv.gray(pixels) if pixels.shape[2] == 3 else pixels


# -- folders -----------------------------------------------------------------------------------------------------------


def _by_folders(root: Path, classes: Sequence[str]) -> Listing:
    """Sub-folders as classes: by the given names, or their first words, or in their own order."""
    words = [name.split()[0].rstrip(",") for name in classes]
    there = {entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")}
    by_word = len(set(words)) == len(words) and there <= set(words)
    listing = from_folders(root, words if by_word else classes)
    return listing


def without_picture(classes: Sequence[str]) -> str:
    return f"classes without a picture: {', '.join(classes[:8])}{', …' if len(classes) > 8 else ''}"


def _remarks(listing: Listing) -> list[str]:
    """Classes without a picture, where the source itself says its classes; files that are passed over."""
    if listing.file:
        lines = len(listing.unlabelled)
        return [f"{counted(lines, 'line')} of {listing.file} without a label: 0, as in Caffe"] if lines else []
    said = []
    filled = {entry.name.split(os.sep)[0] for entry in listing.entries}
    folders = sorted(f.name for f in os.scandir(listing.root) if f.is_dir() and not f.name.startswith("."))
    if empty := [name for name in folders if name not in filled]:
        said.append(without_picture(empty))
    if listing.passed_over:
        first = ", ".join(listing.passed_over[:3])
        more = ", …" if len(listing.passed_over) > 3 else ""
        said.append(f"{counted(len(listing.passed_over), 'file')} passed over, not pictures of a class: {first}{more}")
    return said
