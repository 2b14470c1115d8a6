"""Where pictures come from: an LMDB (Data) or a list of files (ImageData), by position."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from netc.errors import NetcError, Place
from netc.paths import resolve
from netc.runtime import rand
from netc.runtime.data.database import Database
from netc.runtime.data.datum import Picture, Undecodable, decode, from_datum
from netc.runtime.imageset import opencv

LEVELDB = 0


class Records(Protocol):
    def __len__(self) -> int: ...

    def picture(self, index: int) -> Picture:
        """Raises NetcError D520 naming the record where it cannot be decoded."""
        ...

    def __enter__(self) -> Records: ...

    def __exit__(self, *exc: object) -> None: ...

    def close(self) -> None: ...


def open_records(param: Any, path: str, place: Place | None = None) -> Records:
    """The records of a Data or ImageData layer whose prototxt is `path`."""
    return _FileList(param, path, place) if param.type == "ImageData" else _DatumRecords(param, path, place)


def wants_color(param: Any) -> bool | None:
    """True: three channels, False: one, None: as the file has them.

    Caffe's force_color and force_gray; besides, rescale_param means the paper's protocol, whose images are RGB.
    """
    transform = param.transform_param
    if transform.force_color and transform.force_gray:
        raise NetcError(
            "D502", f'layer "{param.name}": force_color and force_gray contradict each other', None, "keep one"
        )
    if transform.force_gray:
        return False
    return True if transform.force_color or transform.HasField("rescale_param") else None


class _DatumRecords:
    def __init__(self, param: Any, path: str, place: Place | None) -> None:
        if not param.data_param.source:
            raise NetcError(
                "D503", f'layer "{param.name}" names no source', place, 'add data_param { source: "…_lmdb" }'
            )
        found = resolve(param.data_param.source, path, "database", place)
        self.database, self.color = Database(found, place), wants_color(param)

    def __enter__(self) -> _DatumRecords:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.database.close()

    def __len__(self) -> int:
        return len(self.database)

    def picture(self, index: int) -> Picture:
        key, value = self.database.record(index) if index else self.database.first()
        try:
            return from_datum(key, value, self.color)
        except Undecodable as reason:
            name = key.decode("utf-8", "replace")
            raise NetcError(
                "D520",
                f'database {self.database.path}: the record "{name}" cannot be decoded: {reason}',
                Place(self.database.path),
                "build the database anew; convert-imageset checks every picture",
            ) from None


class _FileList:
    """`path label` lines, the label after the last blank; with root_folder, is_color, new_height and new_width."""

    def __init__(self, param: Any, path: str, place: Place | None) -> None:
        self.options = param.image_data_param
        self.list = resolve(self.options.source, path, "image list", place)
        self.root = self._root(path)
        self.color = bool(self.options.is_color)
        self.lines = [line for line in Path(self.list).read_text("utf-8").splitlines() if line.strip()]
        if not self.lines:
            raise NetcError("D504", f"the image list {self.list} is empty", Place(self.list))

    def _root(self, path: str) -> str:
        root = self.options.root_folder
        folder = os.path.dirname(path)
        return (
            os.path.join(folder, root)
            if root and not os.path.isdir(root) and os.path.isdir(os.path.join(folder, root))
            else root
        )

    def __enter__(self) -> _FileList:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        pass

    def __len__(self) -> int:
        return len(self.lines)

    def picture(self, index: int) -> Picture:
        name, _, label = self.lines[index].rpartition(" ")
        path = self._find(name)
        try:
            pixels = decode(Path(path).read_bytes(), self.color)
            number = float(int(label))
        except (OSError, ValueError, Undecodable) as reason:
            raise NetcError(
                "D520",
                f'the image "{name}" cannot be used: {reason}',
                Place(self.list, index + 1, 1, 1, self.lines[index]),
            ) from None
        height, width = self.options.new_height, self.options.new_width
        if height and width:
            pixels = opencv.resize(pixels, height, width)
        return Picture(pixels, number, name)

    def _find(self, name: str) -> str:
        path = self.root + name  # Caffe joins them as they are
        beside = os.path.join(os.path.dirname(self.list), path)
        return beside if not os.path.exists(path) and os.path.exists(beside) else path


def shuffled(records: int, position: int, *key: int | str) -> int:
    """The record at `position` of an endless sequence that takes every record once an epoch, in a new order each."""
    epoch, offset = divmod(position, records)
    return int(_order(records, epoch, *key)[offset])


_orders: dict[tuple[int | str, ...], Any] = {}


def _order(records: int, epoch: int, *key: int | str) -> Any:
    """The order of an epoch; the last few stay in memory (two threads may both compute one: it is the same)."""
    name = (records, epoch, *key)
    if name not in _orders:
        while len(_orders) > 8:
            _orders.pop(next(iter(_orders)), None)
        _orders[name] = rand.permutation(records, *key, epoch)
    return _orders[name]
