"""Lists of pictures and their labels, for ImageData layers and `netc convert-imageset`.

    cat/1.png 0             a name, blanks or tabs, a label; a line without a label has label 0, as in Caffe
    "my cats/2.png" 0.5     names may be quoted; labels may be negative, and fractions
    my cats/3.png 0 1 1     several labels, as many in each line

Labels follow the last word that ends like a picture's name; where no word does, the last word is the label (Caffe's
rule), so names with blanks need no quotes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place, counted, raise_all
from netc.files.lines import numbered, read_text
from netc.runtime.data.decoding import Undecodable, decode, read_picture

MAX_SHOWN = 20
"""Wrong lines that are told of one list."""

_QUOTED = re.compile(r"""(["'])(.+?)\1(?:[ \t\f\v]+(.*))?""")
_WORD = re.compile(r"[^ \t\f\v]+")
_PICTURE = re.compile(r".*[^/]\.(jpe?g|jpe|jfif|png|bmp|dib|webp|tiff?|ppm|pgm|pbm|pnm|gif|jp2|exr|hdr|sr|ras)", re.I)
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_SIMPLE = re.compile(r"""^([^\s"']\S*)[ \t]+([+-]?[0-9]{1,15})[ \t]*\r?$""", re.M)
"""Nearly all lines of nearly all lists."""

_WHOLE = re.compile(r"([+-]?[0-9]+)(\.0*)?")
_EXACT = 1 << 24
"""float32 holds every whole number up to it."""

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ImageList:
    """The lines of a list that are not blank: `names`; `labels` (lines, labels a line), at least one column, zeros
    where a line has none; `numbers` of the lines, from 1; `unlabelled`: the numbers of those without a label."""

    path: str
    text: str
    names: Sequence[str]
    labels: NDArray[np.float64]
    numbers: NDArray[np.int64]
    unlabelled: Sequence[int]

    def __len__(self) -> int:
        return len(self.names)

    def place(self, index: int) -> Place:
        """Where an entry's name stands."""
        return _place(self.path, int(self.numbers[index]), self._line(index), 0)

    def label(self, index: int, column: int = 0) -> tuple[str, Place]:
        """One of an entry's labels as it is written, and where it stands."""
        line = self._line(index)
        words = split_name(line)[1]
        start = len(line)
        for word in reversed(words[column:]):
            start = line.rindex(word, 0, start)
        return words[column], _place(self.path, int(self.numbers[index]), line, start, len(words[column]))

    def check_exact(self) -> None:
        """Raises NetcError D540 for each label written as a whole number that becomes another one as float32."""
        rows, columns = np.nonzero(np.abs(self.labels) > _EXACT)
        found = (self.label(int(row), int(column)) for row, column in zip(rows, columns, strict=True))
        raise_all(list(islice((_inexact(*one) for one in found if not _is_exact(one[0])), MAX_SHOWN)))

    def _line(self, index: int) -> str:
        number = int(self.numbers[index])
        return next(line for n, line in numbered(self.text) if n == number)


def read_image_list(path: str) -> ImageList:
    """Raises NetcError X120, F102, F104, D531 (netc.files.lines), D540 for each line with a label that is not a number,
    or with another number of labels than the lines before it."""
    text = read_text(path, "list of pictures")
    return _simple(path, text) or _any(path, text)


def _simple(path: str, text: str) -> ImageList | None:
    """A list of simple lines alone, read ten times as fast."""
    found = _SIMPLE.findall(text)
    if not found or len(found) != text.count("\n") + (not text.endswith("\n")):
        return None
    labels = np.fromiter((float(label) for _, label in found), np.float64, len(found))
    return ImageList(path, text, [name for name, _ in found], labels[:, None], np.arange(1, len(found) + 1), ())


def _any(path: str, text: str) -> ImageList:
    entries: list[tuple[str, int, list[float]]] = []
    errors: list[NetcError] = []
    width = 0
    for number, line in numbered(text):
        name, words = split_name(line)
        row = [float(word) for word in words if is_number(word)]
        if len(row) < len(words):
            errors.append(_no_label(path, number, line, words))
        elif row and width and len(row) != width:
            errors.append(_other_width(path, number, line, len(row), width))
        if len(errors) == MAX_SHOWN:
            break
        width = width or len(row)
        entries.append((name, number, row))
    raise_all(errors)
    return _listed(path, text, entries, max(width, 1))


def _listed(path: str, text: str, entries: Sequence[tuple[str, int, list[float]]], width: int) -> ImageList:
    labels = np.array([row or [0.0] * width for *_, row in entries]).reshape(len(entries), width)
    numbers = np.array([number for _, number, _ in entries], np.int64)
    unlabelled = [number for _, number, row in entries if not row]
    return ImageList(path, text, [name for name, *_ in entries], labels, numbers, unlabelled)


def split_name(line: str) -> tuple[str, list[str]]:
    """The picture's name in a line without blanks at its ends, and the words behind it."""
    if (quoted := _QUOTED.fullmatch(line)) is not None:
        return quoted[2], _WORD.findall(quoted[3] or "")
    words = list(_WORD.finditer(line))
    if len(words) == 1:
        return line, []
    last = next((i for i in reversed(range(len(words))) if _PICTURE.fullmatch(words[i][0])), len(words) - 2)
    return line[: words[last].end()], [word[0] for word in words[last + 1 :]]


def is_number(word: str) -> bool:
    """Whether it is a number that a float32 can hold."""
    return _NUMBER.fullmatch(word) is not None and abs(float(word)) <= _LARGEST


def _is_exact(word: str) -> bool:
    """Whether a float32 holds just this number, if it is written as a whole one."""
    whole = _WHOLE.fullmatch(word)
    return whole is None or int(np.float32(int(whole[1]))) == int(whole[1])


def _inexact(word: str, place: Place) -> NetcError:
    became = int(np.float32(float(word)))
    message = f"the label {word} would become {became}: a layer gives labels as float32, which does not hold it"
    return NetcError("D540", message, place, f"whole numbers are exact up to {_EXACT}: number the labels anew")


def _place(path: str, number: int, line: str, start: int, length: int = 0) -> Place:
    return Place(path, number, start + 1, max(1, length or len(line)), line)


def _no_label(path: str, number: int, line: str, words: Sequence[str]) -> NetcError:
    wrong = next(word for word in words if not is_number(word))
    place = _place(path, number, line, line.rfind(wrong), len(wrong))
    shown = wrong if len(wrong) <= 40 else wrong[:40] + "…"
    hint = 'a line is "picture.jpg 3": a name, a blank, a number; names may stand in quotes'
    return NetcError("D540", f'"{shown}" is not a label', place, hint)


def _other_width(path: str, number: int, line: str, count: int, width: int) -> NetcError:
    message = f"{counted(count, 'label')}, but the lines before have {width}"
    return NetcError("D540", message, _place(path, number, line, 0), "each line needs as many; quote names with blanks")


# -- the files ---------------------------------------------------------------------------------------------------------


class PictureFiles:
    """The pictures whose names start from `root`, seen from here and from the folders of the files `near`. `keep`:
    what was read stays in memory, as the files have it."""

    def __init__(self, root: str, *near: str, keep: bool = False) -> None:
        self.root = root
        self._kept: dict[str, bytes] | None = {} if keep else None
        self.folders = ["", *(os.path.join(folder, "") for folder in map(os.path.dirname, near) if folder)]

    def decode(self, name: str, place: Callable[[], Place], color: bool, upright: bool) -> Any:
        """The pixels of a picture (netc.runtime.data.decoding). Raises NetcError D520 with the place that names it."""
        paths = picture_paths(self.root, name, self.folders)
        try:
            return decode(self._read(existing(paths) or paths[0]), color, upright).pixels
        except FileNotFoundError:
            tried = " or ".join(dict.fromkeys(map(os.path.abspath, paths)))
            message = f'there is no picture "{name}": there is no {tried}'
            raise NetcError("D520", message, place(), missing_hint(name, paths)) from None
        except NetcError as error:
            raise NetcError("D520", error.message, place()) from None
        except (OSError, Undecodable) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise NetcError("D520", f'the picture "{name}" cannot be used: {reason}', place()) from None

    def _read(self, path: str) -> bytes:
        if self._kept is None:
            return read_picture(path)
        if path not in self._kept:
            self._kept[path] = read_picture(path)
        return self._kept[path]


def picture_paths(root: str, name: str, folders: Iterable[str] = ("",)) -> list[str]:
    """The paths that `name` may mean, in the order they are tried: root and name joined as they are (Caffe's way) and
    by one slash, seen from each of `folders`; an absolute name also as it is."""
    places = list(dict.fromkeys(root if os.path.isabs(root) else folder + root for folder in folders))
    tried = [place + name for place in places if not (place.endswith("/") and name.startswith("/"))]
    tried += [os.path.join(place, name.lstrip("/")) for place in places if place]
    return list(dict.fromkeys([*tried, name] if os.path.isabs(name) else tried))


def existing(paths: Sequence[str]) -> str | None:
    return next((path for path in paths if os.path.exists(path)), None)


def missing_hint(name: str, paths: Sequence[str]) -> str | None:
    """What may be wrong with a line whose file is not there."""
    if "\\" in name:
        there = existing([path.replace("\\", "/") for path in paths])
        return "names have Windows' backslashes: write slashes" + (f", {there} exists" if there else "")
    if re.search(r"[,;]\s*-?[0-9.]+$", name):
        return "blanks or tabs stand between a name and its label, not commas"
    words = _WORD.findall(name)
    if len(words) > 1 and all(_PICTURE.fullmatch(word) for word in words):
        return "a line is one picture and its numbers: pictures that belong together need a list and a layer each"
    if len(words) > 1 and all(_NUMBER.fullmatch(word) for word in words[1:]):
        return 'the last word is taken for the label: with several labels, put the name in quotes, "a" 0 1'
    return None
