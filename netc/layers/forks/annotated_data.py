from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netc.layers.base import Shape, between, layer
from netc.layers.sources import RecordSource

OBJECT = 8
"""Numbers of an object: image, class, instance, xmin, ymin, xmax, ymax, difficult."""


class ForkSource(RecordSource):
    """A source of a fork: netc tells the shapes, and whoever runs the net feeds it."""

    remedy = "give the size of the images in transform_param, or run the net from Python with arrays of your own"

    def image_shape(self) -> Shape | None:
        t = self.param.transform_param
        if t.crop_size:
            return super().image_shape()
        sizes = [(t.crop_h, t.crop_w), *((r.height, r.width) for r in t.resize_param)]
        size = next((size for size in sizes if all(size)), None)
        return None if size is None else (self.channels(), *size)


@layer("AnnotatedData")
class AnnotatedData(ForkSource):
    """Batches of images and of the boxes on them, from a database of AnnotatedDatum records.

    netc reads the settings and tells the shapes; it has no reader for these records: a net with this layer is checked,
    converted and run from Python with images and boxes of the caller's, but not by `netc train`.
    Fields: `data_param { source, batch_size, backend }`, `annotated_data_param`, `transform_param` with `resize_param`.
    Shapes: none → (batch, channels, height, width), (1, 1, G, 8) with G objects of (image, class, instance, xmin, ymin,
    xmax, ymax, difficult); G is known only when it runs, and 1 until then.
    Errors: batch_size 0; an image shape that neither crop_size nor resize_param tell.
    Source: SSD (Liu et al., 2016), section 2.2; annotated_data_layer.cpp of weiliu89/caffe.
    """

    fork = "SSD (weiliu89/caffe)"
    param_field = "annotated_data_param"
    also_reads = frozenset({"transform_param", "data_param"})

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        images = batch_of(self, self.param.data_param, "data_param")
        return [*self.shapes(images), (1, 1, 1, OBJECT)][: len(self.param.top)]

    def shapes(self, batch: int) -> Sequence[Shape]:
        image = self.seen()
        if image is None and self.probe is not None:
            return self._probed()[:1]
        if image is None:
            found = "its shapes are not known without looking at the data"
            self.fail(found, "transform_param", self.remedy, "L304")
        return [(batch, *image)]


@layer("DenseImageData")
class DenseImageData(ForkSource):
    """Batches of images and of images of labels, a class for each pixel, from a list of pairs of files.

    netc reads the settings and tells the shapes; it has no reader for these lists (as with AnnotatedData).
    Fields: `dense_image_data_param { source, batch_size, shuffle, new_height, new_width, is_color }`,
    `transform_param`.
    Shapes: none → (batch, channels, height, width), (batch, 1, height, width). Errors: batch_size 0; an image shape
    that no field tells. Source: SegNet (Badrinarayanan et al., 2015); dense_image_data_layer.cpp of
    alexgkendall/caffe-segnet.
    """

    fork = "SegNet (alexgkendall/caffe-segnet)"
    param_field = "dense_image_data_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        batch = self.positive("batch_size")
        if self.probe is not None:
            return self._probed()
        image = self.told or self.image_shape()
        if image is None:
            found = "its shapes are not known without looking at the data"
            self.fail(found, "dense_image_data_param", "add new_height and new_width, or crop_size", "L304")
        return [(batch, *image), (batch, 1, *image[1:])][: len(self.param.top)]

    def image_shape(self) -> Shape | None:
        o = self.options
        if o.new_height and o.new_width and not self.param.transform_param.crop_size:
            return (self.channels(), o.new_height, o.new_width)
        return super().image_shape()

    def channels(self) -> int:
        return 3 if self.options.is_color else 1


@layer("VideoData")
class VideoData(AnnotatedData):
    """Batches of frames: of a camera or film (SSD), or of the clips of a list (yjxiong's fork, known by its `source`).

    netc reads the settings and tells the shapes; it has no reader for films (as with AnnotatedData).
    Fields of SSD: `data_param { batch_size }`, `video_data_param { video_type, device_id, video_file, skip_frames }`,
    `transform_param`. Fields of yjxiong: `video_data_param { source, batch_size, new_length, num_segments, modality,
    new_height, new_width }`, `transform_param`. Shapes: none → SSD: (batch, channels, height, width); yjxiong: (batch,
    num_segments · new_length · c, height, width) with c = 3 for RGB and 2 for FLOW, and (batch) labels.
    Errors: batch_size 0; an image shape that no field tells. Source: video_data_layer.cpp of weiliu89/caffe and
    yjxiong/caffe (Temporal Segment Networks, Wang et al., 2016).
    """

    tops = between(1, 2)
    param_field = "video_data_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        clips = bool(self.options.source)
        settings = (self.options, "video_data_param") if clips else (self.param.data_param, "data_param")
        batch = batch_of(self, *settings)
        return [*self.shapes(batch), (batch,)][: len(self.param.top)]

    def image_shape(self) -> Shape | None:
        o = self.options
        if o.source and o.new_height and o.new_width and not self.param.transform_param.crop_size:
            return (self.channels(), o.new_height, o.new_width)
        return super().image_shape()

    def channels(self) -> int:
        o = self.options
        if not o.source:
            return super().channels()
        return int(o.num_segments * o.new_length * (2 if o.modality else 3))


def batch_of(layer: ForkSource, options: Any, field: str) -> int:
    """batch_size, at least 1."""
    if options.batch_size < 1:
        layer.fail("needs a batch_size of at least 1", f"{field}.batch_size", "add `batch_size: 32`")
    return int(options.batch_size)
