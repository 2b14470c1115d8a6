"""What the source layers share: their tops come from outside, so all they do here is to tell the shapes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from netc.errors import NetcError, NetcErrors
from netc.layers.base import Layer, Shape, between, exactly, format_shape
from netc.layers.code import number, tuple_of

DATABASE, LIST, HDF5, WINDOWS = "database", "list", "hdf5", "windows"
FILLERS, ARRAYS = "fillers", "arrays"
"""What feeds a source: a database of records, a list of images, one of HDF5 files, a window file; fillers; arrays that
the calling program sets."""
IMAGES = frozenset({DATABASE, LIST})
"""Feeds of whole images, decoded one by one."""

_NAMING = ("transform_param.mean_file", "data_param.source", "image_data_param.source", "hdf5_data_param.source")
"""Fields that name files or databases."""


class SourceLayer(Layer):
    """A layer without bottoms that the machine feeds. `setup` gives the shapes of its tops."""

    bottoms = exactly(0)
    is_source = True

    def summary(self) -> str | None:
        """The batch, and the last part of the path that it comes from."""
        fields = self.options.DESCRIPTOR.fields_by_name
        if not self.feed or "source" not in fields:
            return None
        batch = f"batch {self.options.batch_size}" if self.options.batch_size else ""
        source = os.path.basename(self.options.source.rstrip("/"))
        return ", ".join(part for part in (batch, source) if part)

    def forward(self, run: Any, bottoms: Sequence[Any], params: Sequence[Any]) -> Sequence[Any]:
        raise RuntimeError(f"{self.type} layers are fed, not run")

    def convention(self, top: int, shape: Shape) -> str:
        if "transform_param" not in self.also_reads:
            images = len(shape) == 4 and shape[1] == 3
            return "images as the net was trained on, in Caffe mostly BGR, 0 to 255 minus the mean" if images else ""
        if top:
            return "whole numbers" if len(shape) == 1 else ""
        return ", ".join(self._transformed("BGR images" if shape[1:2] == (3,) else "images"))

    def _transformed(self, images: str) -> Iterator[str]:
        """What transform_param does to them."""
        transform = self.param.transform_param
        means = [number(mean) for mean in transform.mean_value]
        yield images
        if means:
            yield f"minus {tuple_of(means) if len(means) > 1 else means[0]}"
        if transform.mean_file:
            yield f"minus the mean image {os.path.basename(transform.mean_file)}"
        if transform.scale != 1:
            yield f"times {number(transform.scale)}"

    def positive(self, field: str) -> int:
        """The value of a field of this type's parameters that has to be at least 1."""
        value = int(getattr(self.options, field))
        if value < 1:
            self.fail(f"needs a {field} of at least 1", f"{self.param_field}.{field}", f"add `{field}: 32`")
        return value


class RecordSource(SourceLayer):
    """Images and labels: top 0 is (batch, channels, height, width), top 1 (if named) the labels, (batch).

    The shape of an image is only known from the data itself: `probe` (given by the commands that may open it) looks.
    Without one, crop_size tells height and width, and images are taken to have three channels.
    """

    tops = between(1, 2)
    also_reads = frozenset({"transform_param"})
    told: Shape | None = None
    """An image's (channels, height, width) before the crop, said by somebody who cannot show the data; it goes before
    settings."""
    remedy: ClassVar[str] = "add `transform_param { crop_size: … }`, or run a command that opens the data (train, test)"

    def shuffles(self) -> bool:
        return bool(self.options.shuffle)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        batch = self.positive("batch_size")
        if self.probe is not None:
            return self._probed()
        image = self.seen()
        if image is None:
            self.fail(
                "its shapes are not known without looking at the data", self.param_field or "", self.remedy, "L304"
            )
        return [(batch, *image), *[(batch,)] * (len(self.param.top) - 1)]

    def _probed(self) -> Sequence[Shape]:
        assert self.probe is not None
        try:
            shapes = [tuple(shape) for shape in self.probe(self.param, self.phase)]
        except NetcError as error:
            told = [self._at_home(one) for one in error.errors]
            raise (NetcErrors(told) if len(told) > 1 else told[0]) from None
        if len(shapes) < len(self.param.top):
            listed = ", ".join(map(format_shape, shapes))
            self.fail(
                f"names {len(self.param.top)} tops, but its data give only {len(shapes)} ({listed})", "top", code="L304"
            )
        return shapes[: len(self.param.top)]

    def _at_home(self, error: NetcError) -> NetcError:
        """An error of the data, with the line of this layer that names them."""
        if error.line and error.path == self.origin.start.path:
            return error
        values = {field: self._written(field) for field in _NAMING}
        said = f"{error.path} {error.message}"
        field = next((field for field, value in values.items() if value and value in said), "")
        if not field and "mean" in error.message:
            field = "transform_param.mean_value" if self.param.transform_param.mean_value else _NAMING[0]
        here = self.origin.place(field)
        if error.path in ("", here.path):
            return NetcError(error.code, error.message, here, error.hint, error.related)
        related = [*error.related, (here, f'layer "{self.name}" reads it')]
        return NetcError(error.code, error.message, error.place, error.hint, related)

    def _written(self, field: str) -> str:
        block, _, name = field.partition(".")
        return str(getattr(getattr(self.param, block), name))

    def seen(self) -> Shape | None:
        """(channels, height, width) of what the net sees: the told size, cropped, or what the settings tell."""
        if self.told is None:
            return self.image_shape()
        size, image = int(self.param.transform_param.crop_size), self.resized(self.told)
        if not size:
            return image
        if len(image) != 3 or min(image[1:]) < size:
            found = f"crops {size}×{size} out of images that are said to be {format_shape(image)}"
            hint = "the size of images is meant as they are before the crop: channels, height, width"
            self.fail(found, "transform_param.crop_size", hint, "L307")
        return (image[0], size, size)

    def resized(self, image: Shape) -> Shape:
        """An image's shape after what the layer's own settings do to its size, before the crop."""
        return image

    def image_shape(self) -> Shape | None:
        """(channels, height, width) as far as the settings alone tell."""
        size = int(self.param.transform_param.crop_size)
        return (self.channels(), size, size) if size else None

    def channels(self) -> int:
        transform = self.param.transform_param
        return 1 if transform.force_gray else 3


def told_shapes(source: Layer, told: Mapping[str, Shape]) -> list[Shape] | None:
    """The shapes of a data layer's tops where `told` says how large its images are, by top or under "" for all data
    layers: those of the other tops as told, else one number a record. None where nothing is said of it.
    Raises NetcError L307 (smaller than the crop)."""
    tops = source.param.top[:]
    first = told.get(tops[0], told.get("")) if tops else None
    if first is None or not isinstance(source, RecordSource):
        return None
    source.told = first
    shapes = [tuple(shape) for shape in source.setup([])]
    batch, later = shapes[0][0], zip(tops[1:], shapes[1:], strict=True)
    return [shapes[0], *[(batch, *told[top]) if top in told else shape for top, shape in later]]
