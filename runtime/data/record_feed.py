"""Pictures and labels → batches, decoded ahead of the training step by a pool of threads.

Pillow and simplejpeg let go of Python's lock while they decode and resize, so threads scale. A batch is a pure function
of its number: which thread does what when cannot change it.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netc.errors import NetcError
from netc.layers.base import Layer, Shape
from netc.runtime.data.datum import Picture
from netc.runtime.data.records import open_records, shuffled
from netc.runtime.data.transform import Crop, Transform

AHEAD = 2
"""Batches prepared beyond the one asked for."""

CHUNK = 8
"""Pictures a task: large enough that handing out tasks costs nothing."""


class RecordFeed:
    """The feed of a Data or ImageData layer (netc.runtime.data.Feed)."""

    def __init__(self, layer: Layer, phase: int, seed: int, workers: int | None = None) -> None:
        path, place = layer.origin.start.path, layer.origin.start
        self.layer, self.seed = layer, seed
        self.transform = Transform(layer.param, phase, path, place)
        self.records = open_records(layer.param, path, place)
        self.size: int | None = len(self.records)
        self.tops = len(layer.param.top)
        self.shapes: list[Shape] = self.transform.shapes(self.records.picture(0), self.tops)
        self.batch_size = self.shapes[0][0]
        self.shuffle = self._shuffles()
        self.waited = 0.0
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, f"decode {layer.name}")
        self._pending: dict[tuple[int, int | None], Future[list[Tensor]]] = {}

    def _shuffles(self) -> bool:
        if self.layer.type == "ImageData":
            return bool(self.layer.options.shuffle)
        return bool(self.layer.options.sampling_param.shuffle)

    def batch(self, k: int, stop: int | None = None) -> list[Tensor]:
        for number in range(k, k + 1 + AHEAD):
            if (number, stop) not in self._pending and (stop is None or number * self.batch_size < stop):
                self._pending[number, stop] = self._start(number, stop)
        self._forget(k, stop)
        future = self._pending.pop((k, stop))
        start = time.perf_counter()
        try:
            return future.result()
        finally:
            self.waited += time.perf_counter() - start

    def _forget(self, k: int, stop: int | None) -> None:
        """Drop batches prepared for another run through the data."""
        wanted = {(number, stop) for number in range(k, k + 1 + AHEAD)}
        for name in [name for name in self._pending if name not in wanted]:
            self._pending.pop(name).cancel()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.records.close()

    # -- one batch -----------------------------------------------------------------------------------------------------

    def _start(self, k: int, stop: int | None) -> Future[list[Tensor]]:
        first = k * self.batch_size
        last = first + self.batch_size if stop is None else min(first + self.batch_size, stop)
        job = _Job(self, range(first, last))
        for start in range(first, last, CHUNK):
            self._pool.submit(job.run, range(start, min(start + CHUNK, last)))
        return job.future

    def prepare(self, position: int) -> tuple[Picture, Crop, list[float], NDArray[Any]]:
        """The picture at a position of the endless sequence, its region, its random numbers and the region's pixels."""
        assert self.size is not None
        name = self.layer.name
        index = shuffled(self.size, position, self.seed, name, "shuffle") if self.shuffle else position % self.size
        picture = self.records.picture(index)
        draws = self.transform.draws(self.seed, name, "augment", position)
        crop = self.transform.sample(picture, draws)
        return picture, crop, draws, self.transform.cut(picture, crop)


class _Job:
    """A batch in the making: tasks put pixels into one array, the last to finish turns it into tensors."""

    def __init__(self, feed: RecordFeed, positions: range) -> None:
        self.feed, self.positions = feed, positions
        self.future: Future[list[Tensor]] = Future()
        self._lock = threading.Lock()
        self._left = len(positions)
        self._pixels: NDArray[Any] | None = None
        self._first: Picture | None = None
        count = len(positions)
        self._labels = np.zeros(count, np.float32)
        self._crops: list[Any] = [None] * count
        self._draws: list[Any] = [None] * count

    def run(self, positions: range) -> None:
        try:
            for position in positions:
                if self.future.done():  # cancelled, or another task failed
                    return
                self._put(position)
            with self._lock:
                self._left -= len(positions)
                finished = self._left == 0
            if finished:
                self._finish(self._tensors())
        except BaseException as error:
            self._fail(error)

    def _finish(self, tensors: list[Tensor]) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(tensors)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if not self.future.done() and self.future.set_running_or_notify_cancel():
                self.future.set_exception(error)

    def _put(self, position: int) -> None:
        at = position - self.positions.start
        picture, crop, draws, pixels = self.feed.prepare(position)
        with self._lock:
            if self._pixels is None:
                self._pixels = np.empty((len(self.positions), *pixels.shape), pixels.dtype)
                self._first = picture
        self._check(picture, pixels)
        self._pixels[at] = pixels
        self._labels[at], self._crops[at], self._draws[at] = picture.label, crop, draws

    def _check(self, picture: Picture, pixels: NDArray[Any]) -> None:
        assert self._pixels is not None
        assert self._first is not None
        if (
            pixels.shape != self._pixels.shape[1:]
            or pixels.dtype != self._pixels.dtype
            or picture.planar != self._first.planar
        ):
            mine, other = (_text(p) for p in (picture, self._first))
            layer = self.feed.layer
            raise NetcError(
                "D522",
                f'layer "{layer.name}": the pictures "{picture.name}" ({mine}) and "{self._first.name}" '
                f"({other}) do not fit in one batch",
                layer.origin.start,
                _size_hint(picture, self._first),
            )

    def _tensors(self) -> list[Tensor]:
        assert self._pixels is not None
        assert self._first is not None
        planes = torch.from_numpy(self._pixels)
        if not self._first.planar:  # (N, h, w, RGB) → (N, BGR, h, w)
            planes = planes.permute(0, 3, 1, 2)
            if planes.shape[1] >= 3:
                planes = planes[:, [2, 1, 0, 3][: planes.shape[1]]]
        data = planes.to(torch.float32, memory_format=torch.contiguous_format)
        if data.data_ptr() == planes.data_ptr():
            data = data.clone()
        offset = self.feed.transform.offset(data.shape[1], self._crops, self._draws)
        if offset is not None:
            data -= torch.from_numpy(np.ascontiguousarray(offset))
        if self.feed.transform.options.scale != 1:
            data *= self.feed.transform.options.scale
        return [data, torch.from_numpy(self._labels)][: self.feed.tops]


def _text(picture: Picture) -> str:
    channels, height, width = picture.size
    return f"{channels} channels, {height}×{width}, {picture.pixels.dtype}"


def _size_hint(one: Picture, other: Picture) -> str:
    if one.size[0] != other.size[0]:
        return "gray and colour pictures are mixed: set transform_param { force_color: true }"
    return "set transform_param { crop_size: … }, with rescale_param if some pictures are smaller; or batch_size 1"
