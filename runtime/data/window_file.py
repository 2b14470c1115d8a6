"""R-CNN's window files: images, and for each the boxes that a detector is trained on (window_data_layer.cpp).

# 0
images/000001.jpg
3 375 500             channels, height, width
2                     boxes
15 0.82 10 20 110 220     class, overlap with an object of that class, x1 y1 x2 y2 (pixels, both ends included)
0 0.1 5 5 60 90
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.files.lines import numbered, read_text
from netc.files.paths import resolve
from netc.runtime.data.image_list import is_number, split_name
from netc.runtime.data.records import source_of

Box = tuple[int, int, int, int]

LARGEST = 1e9
"""No class, and no place in a picture, has a greater number."""


class WindowFile:
    """The boxes of a file: `boxes[i]` of the image `images[owner[i]]` is of class `labels[i]`, 0 for background.

    `foreground` and `background` are the numbers of the boxes at or above fg_threshold, and below bg_threshold; the
    rest is left out, as in Caffe. Raises NetcError D551 (no window file), X120 (cannot be read).
    """

    def __init__(self, param: Any, path: str, place: Place | None) -> None:
        options = param.window_data_param
        self.path = resolve(source_of(param, place), path, "window file", place)
        self._lines = list(numbered(read_text(self.path, "window file")))
        self._words, self._line_of, self._next = list[str](), array("q"), 0
        for line, (_, text) in enumerate(self._lines):
            words = text.split()
            self._words += words
            self._line_of.extend([line] * len(words))
        self.images: list[str] = []
        self._named: list[int] = []
        parts = []
        while self._next < len(self._words):
            parts.append(self._image())
        if not parts:
            raise NetcError("D551", f"the window file {self.path} is empty", Place(self.path))
        table = np.concatenate(parts)
        self.owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        self.overlap = table[:, 1]
        self.boxes = table[:, 2:].astype(np.int64)
        objects = self.overlap >= np.float32(options.fg_threshold)
        self._check_labels(table[:, 0], objects)
        self.labels = np.where(objects, table[:, 0], 0).astype(np.int64)
        self.foreground = np.flatnonzero(objects)
        self.background = np.flatnonzero(~objects & (self.overlap < np.float32(options.bg_threshold)))
        del self._words, self._line_of

    def place(self, image: int) -> Place:
        """Where an image is named."""
        return self._at(self._named[image])

    def _image(self) -> NDArray[np.float32]:
        """One image's block: its boxes, a row each of class, overlap, x1, y1, x2, y2."""
        if self._word("#") != "#":
            raise self._wrong(self._next - 1, 'an image begins with "#"')
        self._whole("the image's number")
        self.images.append(self._name())
        for what in ("channels", "height", "width"):
            self._whole(f"the image's {what}")
        count = self._whole("the number of boxes")
        first, self._next = self._next, self._next + 6 * count
        if self._next > len(self._words):
            raise self._wrong(len(self._words) - 1, f"{count} boxes of 6 numbers each should follow")
        words = self._words[first : self._next]
        try:
            boxes = np.array(words, np.float64).reshape(count, 6)
        except ValueError:
            boxes = None
        if boxes is None or not (np.abs(boxes) < LARGEST).all():
            wrong = next(i for i, word in enumerate(words) if not (is_number(word) and abs(float(word)) < LARGEST))
            raise self._wrong(first + wrong, "a box is six numbers: class, overlap, x1, y1, x2, y2")
        return boxes.astype(np.float32)

    def _name(self) -> str:
        """The image's name: a word or, at the start of a line, as much of the line as a list of pictures would take."""
        at = self._next
        word = self._word("the image's name")
        line = self._line_of[at]
        self._named.append(line)
        if at and self._line_of[at - 1] == line:
            return word
        name, behind = split_name(self._lines[line][1])
        if not all(map(is_number, behind)):
            return word
        self._next = at + len(self._lines[line][1].split()) - len(behind)
        return name

    def _word(self, what: str) -> str:
        if self._next >= len(self._words):
            raise self._wrong(len(self._words) - 1, f"{what} is missing at the end")
        self._next += 1
        return self._words[self._next - 1]

    def _whole(self, what: str) -> int:
        word = self._word(what)
        if not (word.isascii() and word.isdecimal() and len(word) < 10):
            raise self._wrong(self._next - 1, f"{what} is a whole number, not {word[:40]}")
        return int(word)

    def _wrong(self, number: int, message: str) -> NetcError:
        """The error at a word of the file."""
        return NetcError("D551", f"this is not a window file: {message}", self._at(self._line_of[number]))

    def _at(self, line: int) -> Place:
        number, text = self._lines[line]
        return Place(self.path, number, 1, max(1, len(text)), text)

    def _check_labels(self, labels: NDArray[np.float32], objects: NDArray[np.bool_]) -> None:
        wrong = np.flatnonzero(objects & ~(labels > 0))
        if len(wrong):
            image, label = self.images[self.owner[wrong[0]]], labels[wrong[0]]
            message = f"{self.path}: a box of {image} overlaps an object, but its class is {label:g}"
            raise NetcError("D551", message, Place(self.path), "classes of objects count from 1; 0 is the background")
