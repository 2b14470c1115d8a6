"""Pictures and labels → batches, decoded ahead of the training step by a pool of threads.

Pillow, simplejpeg and numpy let go of Python's lock while they work, so threads scale and processes would only add
copies. A batch is a pure function of its number: which thread does what, and when, cannot change it, nor which of
several broken records is named.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netc.errors import NetcError, counted
from netc.layers.base import Layer, Shape
from netc.layers.sources import LIST
from netc.runtime.data.byte_batch import ByteBatch, room
from netc.runtime.data.datum import Picture
from netc.runtime.data.order import Order, Sequence, shuffled
from netc.runtime.data.records import Opened, open_records
from netc.runtime.data.transform import Transform
from netc.runtime.net import rand
from netc.runtime.net.cores import usable_cores
from netc.runtime.parallel.shards import WHOLE, Shard, positions

AHEAD = 2
"""Batches prepared beyond the one asked for."""

CHUNK = 8
"""Pictures a task: enough that handing out tasks costs nothing, few enough to share a small batch."""


class _Wanted(NamedTuple):
    """What `batch` is asked for."""

    k: int
    stop: int | None
    shard: Shard


class RecordFeed:
    """The feed of a Data or ImageData layer (netc.runtime.data.Feed).

    Raises NetcError, from `batch` too: D520 (a record that is not a picture), D521 (smaller than the crop), D522 (does
    not fit the first of its batch), D564 (without a box, where the layer has a top for it). On another `device` than
    the CPU, pictures of bytes come as `ByteBatch`.
    """

    device = "cpu"

    def __init__(
        self, layer: Layer, phase: int, seed: int, workers: int | None = None, opened: Opened | None = None
    ) -> None:
        self.layer, self.seed = layer, seed
        self.size: int | None = None
        self.open(phase, opened)
        self.tops = len(layer.param.top)
        try:
            first = opened.first if opened is not None else self.records.picture(0)
            self.shapes: list[Shape] = self.transform.shapes(first, self.tops)
        except NetcError:
            self.records.close()
            raise
        group = self.layer.param.transform_param.random_group
        self.random_key = ("group", group) if group else (self.layer.key,)
        self.label_shape = np.shape(first.label)
        self._decoded = {0: first}
        self.batch_size = self.shapes[0][0]
        self.waited = 0.0
        self._workers = workers or usable_cores()
        self._start_threads()

    def open(self, phase: int, opened: Opened | None) -> None:
        """Set `transform`, `records`, `order` and, where the source has an end, `size`."""
        path, origin = self.layer.origin.start.path, self.layer.origin
        self.transform = Transform(self.layer.param, phase, path, origin.place("transform_param"))
        place = origin.place(f"{self.layer.param_field}.source")
        self.records = opened.at(place) if opened else open_records(self.layer.param, path, place)
        self.size = count = len(self.records)
        shuffle = shuffled(count, self.seed) if self.layer.shuffles() else None
        self.order: Sequence = Order(count, shuffle, _skipped(self.layer, self.seed))

    def picture(self, index: int) -> Picture:
        """A record. The first one has been decoded already when it is first asked for."""
        return self._decoded.pop(index, None) or self.records.picture(index)

    def record(self, position: int) -> str:
        """What stands at a position, in words."""
        return self.records.name(self.order[position])

    def _start_threads(self) -> None:
        self._process = os.getpid()
        self._pool = ThreadPoolExecutor(self._workers, f"decode {self.layer.name}")
        self._pending: dict[_Wanted, Future[list[Tensor]]] = {}

    def batch(self, k: int, stop: int | None = None, shard: Shard = WHOLE, step: int = 1) -> list[Tensor]:
        if self._process != os.getpid():  # threads do not survive a fork
            self._start_threads()
        coming = [_Wanted(number, stop, shard) for number in range(k, k + 1 + AHEAD * step, step)]
        for wanted in coming:
            if wanted not in self._pending and (stop is None or wanted.k * self.batch_size < stop):
                self._pending[wanted] = self._start(wanted)
        self._forget(coming)
        future = self._pending.pop(coming[0])
        start = time.perf_counter()
        try:
            return future.result()
        finally:
            self.waited += time.perf_counter() - start

    def _forget(self, coming: list[_Wanted]) -> None:
        """Drop batches prepared for another run through the data, or through the data of this shard."""
        _, stop, shard = coming[0]
        for other in [other for other in self._pending if other not in coming]:
            if (other.stop, other.shard.count) != (stop, shard.count) or other.shard == shard:
                self._pending.pop(other).cancel()

    def close(self) -> None:
        """Stop decoding and give the source back. Nothing is left running."""
        for future in self._pending.values():
            future.cancel()
        self._pending.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.records.close()

    def _start(self, wanted: _Wanted) -> Future[list[Tensor]]:
        job = _Job(self, positions(wanted.k, self.batch_size, wanted.stop, wanted.shard))
        last = job.positions.stop
        for start in range(job.positions.start, last, CHUNK):
            self._pool.submit(job.run, range(start, min(start + CHUNK, last)))
        return job.future


def _skipped(layer: Layer, seed: int) -> int:
    """How many lines of a list are passed over at the start: a random number below rand_skip."""
    limit = int(layer.options.rand_skip) if layer.feed == LIST else 0
    return int(rand.draws(seed, "rand_skip", n=1)[0] * limit)


class _Job:
    """A batch in the making: each task puts its pictures into their places, the last one to finish hands it over."""

    def __init__(self, feed: RecordFeed, positions: range) -> None:
        self.feed, self.positions = feed, positions
        self.future: Future[list[Tensor]] = Future()
        self._lock = threading.Lock()
        self._left = len(positions)
        self._data: NDArray[Any] | None = None
        self._bytes: ByteBatch | None = None
        self._labels = np.zeros((len(positions), *feed.label_shape), np.float32)
        self._boxes = np.zeros((len(positions), 4), np.float32)
        self._errors: dict[int, BaseException] = {}
        self._sizes: dict[int, tuple[str, Shape]] = {}

    def run(self, positions: range) -> None:
        try:
            for position in positions:
                if self.future.cancelled():
                    return
                self._put(position)
        except BaseException as error:
            self._errors[position] = error
        with self._lock:
            self._left -= len(positions)
            if self._left:
                return
        self._finish()

    def _put(self, position: int) -> None:
        """Decode, cut and convert the picture at a position of the endless sequence."""
        feed, at = self.feed, position - self.positions.start
        picture = feed.picture(feed.order[position])
        draws = feed.transform.draws(feed.seed, *feed.random_key, "augment", position)
        crop = feed.transform.sample(picture, draws)
        planes = feed.transform.cut(picture, crop)
        with self._lock:
            if self._data is None:
                self._data = self._room(planes)
        self._sizes[position], self._labels[at] = (picture.name, planes.shape), picture.label
        if planes.shape != self._data.shape[1:]:
            return
        if feed.tops > 2:
            self._boxes[at] = feed.transform.box(picture, crop)
        if self._bytes is None:
            feed.transform.arithmetic(planes, crop, draws, self._data[at])
        elif planes.dtype == np.uint8:
            offset = feed.transform.flipped(planes, crop, draws, self._data[at])
            if offset is not None and self._bytes.offsets is not None:
                self._bytes.offsets[at] = torch.from_numpy(offset)
        else:
            whole = np.empty(planes.shape, np.float32)
            feed.transform.arithmetic(planes, crop, draws, whole)
            self._bytes.whole[at] = torch.from_numpy(whole)

    def _room(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Memory for the batch, of pictures like this one: of bytes where they go to a device as such."""
        feed, shape = self.feed, (len(self.positions), *planes.shape)
        if feed.device == "cpu" or planes.dtype != np.uint8 or not feed.transform.subtracts_colours:
            return np.empty(shape, np.float32)
        self._bytes = ByteBatch(room(shape, feed.device), torch.zeros(*shape[:2], 1, 1), float(feed.transform.factor))
        found: NDArray[Any] = self._bytes.bytes.numpy()
        return found

    def _finish(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        if self._errors:
            self.future.set_exception(self._errors[min(self._errors)])
        elif len({size for _, size in self._sizes.values()}) > 1:
            self.future.set_exception(self._misfit())
        else:
            data: Any = torch.from_numpy(self._data) if self._bytes is None else self._bytes
            tensors = [data, torch.from_numpy(self._labels), torch.from_numpy(self._boxes)]
            self.future.set_result(tensors[: self.feed.tops])

    def _misfit(self) -> NetcError:
        sizes = [self._sizes[position] for position in self.positions]
        first, size = sizes[0]
        name, other = next(pair for pair in sizes if pair[1] != size)
        layer = self.feed.layer
        return NetcError(
            "D522",
            f'layer "{layer.name}": the pictures "{first}" ({_text(size)}) and "{name}" ({_text(other)}) do not fit '
            "in one batch",
            layer.origin.start,
            _hint(size, other),
        )


def _text(size: Shape) -> str:
    channels, height, width = size
    return f"{height}×{width}, {counted(channels, 'channel')}"


def _hint(one: Shape, other: Shape) -> str:
    if one[0] != other[0]:
        return "gray and colour pictures are mixed: set transform_param { force_color: true }"
    return "set transform_param { crop_size: … }, with rescale_param if some pictures are smaller; or batch_size 1"
