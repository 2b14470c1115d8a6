"""Where pictures come from: an LMDB or LevelDB (Data) or a list of files (ImageData), by position."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from netc.errors import NetcError, Place
from netc.files.paths import resolve
from netc.layers import registry
from netc.layers.sources import DATABASE, HDF5, LIST
from netc.runtime.data import opencv
from netc.runtime.data.database import open_database
from netc.runtime.data.datum import Picture, from_datum
from netc.runtime.data.decoding import Undecodable, as_array
from netc.runtime.data.image_list import PictureFiles, read_image_list


class Records:
    """Pictures by their position in a source."""

    def __len__(self) -> int:
        raise NotImplementedError

    def picture(self, index: int) -> Picture:
        """Raises NetcError D520 naming the record where it cannot be decoded."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """A record in words, with the file that holds it."""
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


def source_of(param: Any, place: Place | None = None) -> str:
    """What the source of a data layer is called. Raises NetcError D503 where it has none."""
    kind = registry()[param.type]
    field = kind.param_field or ""
    source: str = getattr(param, field).source
    if not source:
        hint = f'add {field} {{ source: "{EXAMPLES.get(kind.feed, "…")}" }}'
        raise NetcError("D503", f'layer "{param.name}" names no source', place, hint)
    return source


EXAMPLES = {DATABASE: "…_lmdb", LIST: "list of pictures and labels.txt", HDF5: "list of .h5 files.txt"}


class _DatumRecords(Records):
    def __init__(self, param: Any, path: str, place: Place | None) -> None:
        found = resolve(source_of(param, place), path, "database", place)
        self.database, self.color = open_database(found, place), wants_color(param)
        self.upright = not param.transform_param.ignore_orientation

    def close(self) -> None:
        self.database.close()

    def __len__(self) -> int:
        return len(self.database)

    def name(self, index: int) -> str:
        return f'the record "{self.database.record(index)[0].decode("utf-8", "replace")}" of {self.database.path}'

    def picture(self, index: int) -> Picture:
        key, value = self.database.record(index) if index else self.database.first()
        try:
            return from_datum(key, value, self.color, self.upright)
        except Undecodable as reason:
            name = key.decode("utf-8", "replace")
            raise NetcError(
                "D520",
                f'the record "{name}" of {self.database.path} cannot be decoded: {reason}',
                Place(self.database.path),
                reason.hint or "build the database anew; convert-imageset checks every picture",
            ) from None


class _FileList(Records):
    """The pictures of a list (netc.runtime.data.image_list); with root_folder, is_color, new_height and new_width."""

    def __init__(self, param: Any, path: str, place: Place | None) -> None:
        self.options = param.image_data_param
        self.upright = not param.transform_param.ignore_orientation
        file = resolve(source_of(param, place), path, "image list", place)
        self.list, self.files = read_image_list(file), PictureFiles(self.options.root_folder, path, file)
        if not len(self.list):
            raise NetcError("D504", f"the image list {file} is empty", Place(file))
        self.list.check_exact()

    def __len__(self) -> int:
        return len(self.list)

    def name(self, index: int) -> str:
        return f'"{self.list.names[index]}", line {self.list.numbers[index]} of {self.list.path}'

    def picture(self, index: int) -> Picture:
        name, labels = self.list.names[index], self.list.labels[index]
        pixels = self.files.decode(name, lambda: self.list.place(index), bool(self.options.is_color), self.upright)
        height, width = self.options.new_height, self.options.new_width
        if height and width:
            pixels = opencv.resize(as_array(pixels), height, width)
        return Picture(pixels, labels if len(labels) > 1 else float(labels[0]), name)
