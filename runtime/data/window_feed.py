"""WindowData: boxes of images, cut out with their surroundings and resized to a square (window_data_layer.cpp).

Every batch has its share of objects and of background, drawn at random: a pure function of the pass's number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.layers.base import Shape, format_shape
from netc.runtime.data import opencv
from netc.runtime.data.datum import Picture, planes_of
from netc.runtime.data.decoding import as_array
from netc.runtime.data.image_list import PictureFiles
from netc.runtime.data.record_feed import RecordFeed
from netc.runtime.data.records import Opened, Records
from netc.runtime.data.rescale import Crop
from netc.runtime.data.transform import Transform
from netc.runtime.data.window_file import Box, WindowFile
from netc.runtime.net import rand


class WindowFeed(RecordFeed):
    """The feed of a WindowData layer (netc.runtime.data.Feed), without an end.

    Raises NetcError D551 (no window file), D552 (a box outside its image), D553 (no box to draw from), D554 (settings
    that boxes do not have), D507 (a mean that does not fit), D520 (an image that cannot be read).
    """

    def open(self, phase: int, opened: Opened | None = None) -> None:
        path, origin = self.layer.origin.start.path, self.layer.origin
        self.transform = WindowTransform(self.layer.param, phase, path, origin.place("transform_param"))
        self.records = _Windows(self.layer.param, path, origin.place("window_data_param.source"))
        self.order = _Draws(self)


class _Draws:
    """The box at each position: in every batch first the background, then the objects."""

    def __init__(self, feed: WindowFeed) -> None:
        self._key, self._batch = (feed.seed, feed.layer.key, "window"), int(feed.layer.options.batch_size)
        self._objects = int(np.float32(self._batch) * np.float32(feed.layer.options.fg_fraction))
        file = feed.records.file  # type: ignore[attr-defined]
        self._sets = (file.background, file.foreground)
        for kind, needed in ((0, self._batch - self._objects), (1, self._objects)):
            if needed and not len(self._sets[kind]):
                raise self._empty(file, kind, feed)

    def __getitem__(self, position: int) -> int:
        boxes = self._sets[position % self._batch >= self._batch - self._objects]
        return int(boxes[int(rand.draws(*self._key, position, n=1)[0] * len(boxes))])

    def _empty(self, file: WindowFile, kind: int, feed: WindowFeed) -> NetcError:
        name, rule = (("background", "below bg_threshold"), ("objects", "of fg_threshold or more"))[kind]
        message = f'layer "{feed.layer.name}": a batch needs {name}, but {file.path} has no box with an overlap {rule}'
        return NetcError("D553", message, feed.layer.origin.place("window_data_param.fg_fraction"), "set fg_fraction")


@dataclass(frozen=True, slots=True)
class WindowPicture(Picture):
    """A whole image and the box in it that is meant."""

    box: Box = (0, 0, 0, 0)


class _Windows(Records):
    """The boxes of a window file as pictures, by their number."""

    def __init__(self, param: Any, path: str, place: Place | None) -> None:
        self.file, options = WindowFile(param, path, place), param.window_data_param
        self.files = PictureFiles(options.root_folder, path, self.file.path, keep=options.cache_images)
        self.upright = not param.transform_param.ignore_orientation

    def __len__(self) -> int:
        return len(self.file.boxes)

    def name(self, index: int) -> str:
        return f'a box of "{self.file.images[self.file.owner[index]]}" in {self.file.path}'

    def picture(self, index: int) -> Picture:
        image = int(self.file.owner[index])
        name = self.file.images[image]
        pixels = self.files.decode(name, lambda: self.file.place(image), True, self.upright)
        x1, y1, x2, y2 = map(int, self.file.boxes[index])
        return WindowPicture(pixels, float(self.file.labels[index]), name, box=(x1, y1, x2, y2))


@dataclass(frozen=True, slots=True)
class Cut(Crop):
    """A part of an image and where it goes: `height` × `width` pixels from (top, left), resized to `size`, then
    flipped, at (down, right) of the square; what is left of the square stays 0."""

    down: int = 0
    right: int = 0


class WindowTransform(Transform):
    """Cut, resize, flip, mean, scale. `crop` is the side of the square."""

    def __init__(self, param: Any, phase: int, path: str = "", place: Place | None = None) -> None:
        super().__init__(param, phase, path, place)
        for field in ("rescale_param", "color_shift_param"):
            if self.options.HasField(field):
                raise self._fail("D554", f"WindowData has no {field}: boxes are resized to crop_size", f"drop {field}")
        window = param.window_data_param
        self.crop = int(self.options.crop_size) or int(window.crop_size)
        self.context, self.square = int(window.context_pad), window.crop_mode == "square"
        if not self.options.HasField("scale"):  # Caffe reads it in the old place alone
            self.factor = np.float32(window.scale)
        if len(self.mean) not in (0, 1, 3):
            raise self._fail("D507", f"{len(self.mean)} values of the mean for images of 3 channels")
        self.offset = self._square_mean()

    @property
    def subtracts_colours(self) -> bool:
        """What is subtracted depends on the place: the border of a square stays 0."""
        return False

    def _square_mean(self) -> NDArray[np.float32] | None:
        """What is subtracted: (3, crop, crop) from the middle of the mean image, or (3, 1, 1)."""
        if self.mean_file is None:
            return self.mean.reshape(-1, 1, 1) if len(self.mean) else None
        start = (self.mean_file.shape[2] - self.crop) // 2
        middle = self.mean_file[:, max(start, 0) :, max(start, 0) :][:, : self.crop, : self.crop]
        if start < 0 or middle.shape != (3, self.crop, self.crop):
            found = format_shape(self.mean_file.shape)
            raise self._fail("D507", f"the mean image is {found}; it has to hold 3×{self.crop}×{self.crop}")
        return middle

    def shapes(self, first: Picture, tops: int) -> list[Shape]:
        return [(self.batch_size, 3, self.crop, self.crop), (self.batch_size,)][:tops]

    def sample(self, picture: Picture, draws: list[float]) -> Crop:
        assert isinstance(picture, WindowPicture)
        flip = self.mirror and draws[3] < 0.5
        _, height, width = picture.size
        try:
            return place_box(picture.box, (height, width), self.crop, self.context, self.square, flip)
        except ValueError:
            box = ", ".join(map(str, picture.box))
            message = f'the box ({box}) lies outside the picture "{picture.name}", {height}×{width}'
            raise self._fail("D552", message, "boxes are x1 y1 x2 y2, from 0, both ends included") from None

    def cut(self, picture: Picture, crop: Crop) -> NDArray[Any]:
        assert isinstance(crop, Cut)
        square = np.zeros((3, self.crop, self.crop), np.uint8)
        high, wide = crop.size
        if high > 0 and wide > 0:
            region = as_array(picture.pixels)[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
            planes = planes_of(opencv.resize(np.ascontiguousarray(region), high, wide))
            square[:, crop.down : crop.down + high, crop.right : crop.right + wide] = (
                planes[:, :, ::-1] if crop.flip else planes
            )
        return square

    def arithmetic(self, planes: NDArray[Any], crop: Crop, draws: list[float], out: NDArray[np.float32]) -> None:
        assert isinstance(crop, Cut)
        value = planes.astype(np.float32)
        if self.offset is not None:
            value -= self.offset
        rows, columns = slice(crop.down, crop.down + crop.size[0]), slice(crop.right, crop.right + crop.size[1])
        out[...] = 0  # beyond the image: what the mean would be
        out[:, rows, columns] = value[:, rows, columns] * self.factor


def place_box(box: Box, image: tuple[int, int], side: int, context: int, square: bool, flip: bool) -> Cut:
    """Where a box's pixels come from and go to. Raises ValueError for a box outside the image.

    With context or square the box grows around its centre, so that `context` pixels of the square are surroundings on
    each side; what of it lies beyond the image becomes a margin.
    """
    x1, y1, x2, y2 = box
    if not context and not square:
        if not (0 <= x1 <= x2 < image[1] and 0 <= y1 <= y2 < image[0]):
            raise ValueError(box)
        return Cut(y2 - y1 + 1, x2 - x1 + 1, y1, x1, (side, side), flip)
    half = [(y2 - y1 + 1) / 2, (x2 - x1 + 1) / 2]
    centre = [y1 + half[0], x1 + half[1]]
    half = [max(half)] * 2 if square else half
    grown = side / (side - 2 * context)
    rows, columns = (
        _along(centre[axis] - half[axis] * grown, centre[axis] + half[axis] * grown, image[axis], side)
        for axis in (0, 1)
    )
    right = columns.after if flip else columns.before
    size = (min(rows.size, side - rows.before), min(columns.size, side - right))
    return Cut(rows.length, columns.length, rows.start, columns.start, size, flip, rows.before, right)


@dataclass(frozen=True, slots=True)
class _Span:
    """Along one axis: the part of the image, its size in the square, and the margins before and after it."""

    start: int
    length: int
    size: int
    before: int
    after: int


def _along(low: float, high: float, image: int, side: int) -> _Span:
    first, last = _rounded(low), _rounded(high)
    scale = side / (last - first + 1)
    before, after = max(0, -first), max(0, last - image + 1)
    start, length = first + before, last - after - first - before + 1
    if length < 1 or not 0 <= start < image:
        raise ValueError(low, high)
    return _Span(start, length, _rounded(length * scale), _rounded(before * scale), _rounded(after * scale))


def _rounded(value: float) -> int:
    """C's round: halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
