from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, between, layer
from netc.layers.sources import DATABASE, RecordSource


@layer("Data")
class Data(RecordSource):
    """Batches of images and labels from an LMDB or LevelDB of Datum records.

    Fields: `data_param { source, batch_size, backend }` (which of the two it is shows in the source itself, whatever
    `backend` says); `transform_param` for scale, mean, crop and mirror.
    Shapes: none → (batch, channels, height, width) and, with a second top, (batch) labels. A third top, netc's own, is
    (batch, 4): the box of each image's object (`netc convert-imageset --boxes`) as centre x, centre y, width and height
    in parts of the crop's sides, moved as the crop, the mirror and the rescaling move it.
    Errors: batch_size 0; an image shape that neither the data nor crop_size tell. Source: data_layer.cpp.
    """

    tops = between(1, 3)
    param_field = "data_param"
    feed = DATABASE
    moved = ("scale", "mean_file", "crop_size", "mirror")
    to_shuffle = "sampling_param { shuffle: true } to data_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shapes = super().setup(bottoms)
        return [*shapes[:2], *[(shape[0], 4) for shape in shapes[2:]]]

    def convention(self, top: int, shape: Shape) -> str:
        if top == 2:
            return "boxes: centre x, centre y, width, height in parts of the crop"
        return super().convention(top, shape)

    def shuffles(self) -> bool:
        """netc's own field, or that of NVIDIA's and Intel's forks."""
        return super().shuffles() or bool(self.options.sampling_param.shuffle)
