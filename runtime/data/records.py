"""Where pictures come from: an LMDB or LevelDB (Data) or a list of files (ImageData), by position."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, Self

from netc.errors import NetcError, Place
from netc.files.paths import resolve
from netc.layers import registry
from netc.layers.sources import LIST
from netc.runtime.data import opencv
from netc.runtime.data.database import open_database
from netc.runtime.data.datum import Picture, Undecodable, as_array, decode, from_datum


class Records:
    """Pictures by their position in a source."""

    def __len__(self) -> int:
        raise NotImplementedError

    def picture(self, index: int) -> Picture:
        """Raises NetcError D520 naming the record where it cannot be decoded."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the source back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_records(param: Any, path: str, place: Place | None = None) -> Records:
    """The records of a Data or ImageData layer whose prototxt is `path`."""
    kind = _FileList if registry()[param.type].feed == LIST else _DatumRecords
    return kind(param, path, place)


class Opened(NamedTuple):
    """A source that was opened to look at its first picture, which need not be decoded again."""

    records: Records
    first: Picture

    def at(self, place: Place) -> Records:
        """The records, whose errors name this place from now on."""
        if isinstance(self.records, _DatumRecords):
            self.records.database.place = place
        return self.records


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


class _DatumRecords(Records):
    def __init__(self, param: Any, path: str, place: Place | None) -> None:
        if not param.data_param.source:
            raise NetcError(
                "D503", f'layer "{param.name}" names no source', place, 'add data_param { source: "…_lmdb" }'
            )
        found = resolve(param.data_param.source, path, "database", place)
        self.database, self.color = open_database(found, place), wants_color(param)

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
                f'the record "{name}" of {self.database.path} cannot be decoded: {reason}',
                Place(self.database.path),
                "build the database anew; convert-imageset checks every picture",
            ) from None


class _FileList(Records):
    """`path label` lines, the label after the last blank; with root_folder, is_color, new_height and new_width."""

    def __init__(self, param: Any, path: str, place: Place | None) -> None:
        self.name, self.options = param.name, param.image_data_param
        self.list = resolve(self.options.source, path, "image list", place)
        self.folders = ["", *(os.path.join(folder, "") for folder in map(os.path.dirname, (path, self.list)) if folder)]
        self.color = bool(self.options.is_color)
        self.lines = [(n, line) for n, line in enumerate(_lines(self.list), 1) if line.strip()]
        if not self.lines:
            raise NetcError("D504", f"the image list {self.list} is empty", Place(self.list))

    def __len__(self) -> int:
        return len(self.lines)

    def picture(self, index: int) -> Picture:
        line, text = self.lines[index]
        name, _, label = text.rpartition(" ")
        try:
            pixels = decode(self._read(name), self.color)
            number = float(int(label))
        except (OSError, ValueError, Undecodable) as reason:
            message = f'the picture "{name}" cannot be used: {reason}'
            raise NetcError("D520", message, Place(self.list, line, 1, max(1, len(name)), text)) from None
        height, width = self.options.new_height, self.options.new_width
        if height and width:
            pixels = opencv.resize(as_array(pixels), height, width)
        return Picture(pixels, number, name)

    def _read(self, name: str) -> bytes:
        """Root folder and name are joined as they are (Caffe's way), seen from here, the prototxt and the list."""
        paths = [folder + self.options.root_folder + name for folder in self.folders]
        return Path(next((path for path in paths if os.path.exists(path)), paths[0])).read_bytes()


def _lines(path: str) -> list[str]:
    try:
        return os.fsdecode(Path(path).read_bytes()).splitlines()
    except OSError as error:
        raise NetcError("X120", f"the list {path} cannot be read: {error.strerror}", Place(path)) from None
