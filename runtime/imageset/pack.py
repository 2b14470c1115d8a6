"""The records of a database, made smaller once: what `netc pack` does.

A training set of large photos spends most of its time in decoding pixels that the crop never shows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc import proto
from netc.errors import NetcError, Place
from netc.runtime.data.database import open_database
from netc.runtime.data.datum import BOX, Picture, from_datum
from netc.runtime.data.decoding import Undecodable, as_array
from netc.runtime.data.rescale import rescaled
from netc.runtime.imageset.builder import Progress
from netc.runtime.imageset.pictures import encoded_as, resized
from netc.runtime.imageset.writer import Database
from netc.runtime.net.cores import usable_cores


@dataclass(slots=True)
class Packed:
    """`records`: how many there are, `smaller`: how many were made smaller; the others are as they were. `before`,
    `after`: bytes of all records."""

    database: Path
    records: int = 0
    smaller: int = 0
    before: int = 0
    after: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "database": str(self.database),
            "records": self.records,
            "smaller": self.smaller,
            "bytes": {"before": self.before, "after": self.after},
        }


def pack(
    source: Path,
    path: Path,
    short_side: int,
    quality: int,
    *,
    upright: bool = True,
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Write the records of an LMDB or LevelDB into the new LMDB `path`, under their keys and in their order.

    A picture whose shorter side is above `short_side` is rescaled to it, keeping the shape, and stored as a JPEG of
    `quality`, 1 to 100; its boxes are scaled with it, and what else the record says stays. Every other record is copied
    byte for byte: pictures of other than 1 or 3 channels, and those with numbers beside them that are no boxes, too.
    `upright`: pictures are turned as EXIF says. `force`: a database of the name is replaced when the new one is
    complete.
    Raises C140 (`path` is `source`), D520 (a record that is no picture) and what `open_database` and `Database` raise.
    """
    given = source.parent if source.is_file() else source  # its data.mdb, say
    if path.exists() and given.exists() and path.samefile(given):
        raise NetcError("C140", f"{path} is the database to pack", None, "give another name with -o")
    packed = Packed(path)
    with open_database(str(source)) as records, Database(path, replace=force) as database:

        def work(key: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
            try:
                return key, value, _packed(key, value, short_side, quality, upright)
            except Undecodable as reason:
                name = key.decode("utf-8", "replace")
                message = f'the record "{name}" of {source} cannot be decoded: {reason}'
                raise NetcError("D520", message, Place(str(source)), reason.hint) from None

        read = map(records.record, range(len(records)))
        for key, before, after in _in_order(work, read, workers or usable_cores()):
            database.put(key, after)
            packed.records += 1
            packed.smaller += after is not before
            packed.before += len(before)
            packed.after += len(after)
            if progress:
                progress(packed.records, len(records))
        database.publish()
    return packed


def _in_order(
    work: Callable[[bytes, bytes], tuple[bytes, bytes, bytes]], read: Iterable[tuple[bytes, bytes]], workers: int
) -> Iterator[tuple[bytes, bytes, bytes]]:
    """What `work` gives of each record, a few ahead on threads."""
    ahead: deque[Future[tuple[bytes, bytes, bytes]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for record in read:
                ahead.append(pool.submit(work, *record))
                if len(ahead) > 4 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _packed(key: bytes, value: bytes, short_side: int, quality: int, upright: bool) -> bytes:
    """The record, made smaller where its picture is larger; else `value` itself."""
    picture = from_datum(key, value, None, upright)
    channels, height, width = picture.size
    if min(height, width) <= short_side or channels not in (1, 3):
        return value
    pixels = _rows(picture)
    if pixels.dtype != np.uint8:
        return value
    target = rescaled(height, width, short_side)
    datum = proto.Datum.FromString(value)
    if picture.boxes is None and datum.float_data:
        return value  # numbers that nobody here knows how to scale
    datum.data, datum.encoded = encoded_as(resized(pixels, target, smooth=True), "jpg", quality), True
    for field, size in zip(("height", "width"), target, strict=True):
        if datum.HasField(field):
            setattr(datum, field, size)
    if picture.boxes is not None:
        edges = np.array([target[1] / width, target[0] / height] * 2)
        scaled = np.array(datum.float_data, np.float64).reshape(-1, BOX) * [1, *edges]
        datum.float_data[:] = scaled.ravel()
    return bytes(datum.SerializeToString())


def _rows(picture: Picture) -> Any:
    """(H, W, C), colours in the order red, green, blue."""
    if not picture.planar:
        return as_array(picture.pixels)
    planes = picture.pixels[::-1] if len(picture.pixels) == 3 else picture.pixels
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
