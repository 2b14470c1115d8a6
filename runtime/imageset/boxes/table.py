"""A plain table of boxes, a box a line.

cat/1.png cat 12 8 80 95        name, class, x1 y1 x2 y2: edges in pixels from the left upper corner
cat/1.png 12 8 80 95            without a class: the box is of the picture's own
"my cats/2.png",cat,12,8,80,95  commas, tabs or semicolons between, quotes where a name has such a sign
filename,width,height,class,xmin,ymin,xmax,ymax
                                a first line that names the columns may put them in any order, and add others
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from netc.errors import NetcError, Place, counted, raise_all
from netc.files.lines import numbered
from netc.runtime.data.image_list import MAX_SHOWN, is_number, split_name
from netc.runtime.imageset.boxes.base import Annotation, Box

_NAMES = {
    "name": ("filename", "file_name", "file", "image", "picture", "path", "name"),
    "class": ("class", "label", "category"),
    "x1": ("x1", "xmin", "left"),
    "y1": ("y1", "ymin", "top"),
    "x2": ("x2", "xmax", "right"),
    "y2": ("y2", "ymax", "bottom"),
    "width": ("width",),
    "height": ("height",),
}
"""What a column holds → what it may be called."""

_WITH_CLASS = ("name", "class", "x1", "y1", "x2", "y2")
_BARE = ("name", "x1", "y1", "x2", "y2")
_NUMBERS = ("x1", "y1", "x2", "y2", "width", "height")


def table(text: str, path: str) -> dict[str, Annotation]:
    """The boxes of each picture. Raises NetcError D565 for each line that is not one of a box."""
    lines = list(numbered(text))
    if not lines:
        raise NetcError("D565", "no box stands here", Place(path), "a line is: picture.jpg class x1 y1 x2 y2")
    sign = next((sign for sign in "\t;," if sign in lines[0][1]), "")
    rows = [(number, _words(line, sign)) for number, line in lines]
    columns = _header(rows[0][1])
    return _read(rows[1:] if columns else rows, columns, path)


def _words(line: str, sign: str) -> list[str]:
    if sign:
        return [word.strip() for word in next(csv.reader([line], delimiter=sign))]
    name, words = split_name(line)
    if len(words) < 4:  # the class, which may look like a picture's name, is the last of it
        return line.split()
    return [name, *words]


def _header(words: Sequence[str]) -> list[str] | None:
    """What each column holds, "" for others, where the line names at least a picture's name and four edges."""
    found = [next((what for what, names in _NAMES.items() if word.lower() in names), "") for word in words]
    return found if set(_BARE) <= set(found) else None


def _read(rows: Sequence[tuple[int, list[str]]], columns: list[str] | None, path: str) -> dict[str, Annotation]:
    boxes: dict[str, list[Box]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    errors: list[NetcError] = []
    for number, words in rows:
        place = Place(path, number, 1)
        cells, wrong = _cells(words, columns)
        if wrong:
            errors.append(NetcError("D565", wrong, place, "a line is: picture.jpg class x1 y1 x2 y2"))
            if len(errors) == MAX_SHOWN:
                break
            continue
        x1, y1, x2, y2 = (float(cells[edge]) for edge in ("x1", "y1", "x2", "y2"))
        boxes.setdefault(cells["name"], []).append(Box(cells.get("class", ""), (x1, y1, x2, y2), place))
        width, height = (int(float(cells.get(side, 0))) for side in ("width", "height"))
        if width > 0 and height > 0:
            sizes[cells["name"]] = width, height
    raise_all(errors)
    return {name: Annotation(found, sizes.get(name)) for name, found in boxes.items()}


def _cells(words: list[str], columns: list[str] | None) -> tuple[dict[str, str], str]:
    """What a line holds, and what is wrong with it, "" for nothing."""
    if columns is None and len(words) not in (len(_WITH_CLASS), len(_BARE)):
        return {}, f"{counted(len(words), 'word')} where five or six are expected"
    columns = columns or list(_WITH_CLASS if len(words) == len(_WITH_CLASS) else _BARE)
    if len(words) != len(columns):
        return {}, f"{counted(len(words), 'column')}, and the first line names {len(columns)}"
    cells = {column: word for column, word in zip(columns, words) if column}
    return cells, next(_wrong(cells), "")


def _wrong(cells: dict[str, str]) -> Iterator[str]:
    for column in _NUMBERS:
        if column in cells and not is_number(cells[column]):
            yield f'{column} is "{cells[column][:40]}", which is not a number'
    if not cells["name"]:
        yield "the picture has no name"
