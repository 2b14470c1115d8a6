from __future__ import annotations

from netc.layers.base import layer
from netc.layers.sources import DATABASE, RecordSource


@layer("Data")
class Data(RecordSource):
    """Batches of images and labels from an LMDB or LevelDB of Datum records.

    Fields: `data_param { source, batch_size, backend }` (which of the two it is shows in the source itself, whatever
    `backend` says); `transform_param` for scale, mean, crop and mirror.
    Shapes: none → (batch, channels, height, width) and, with a second top, (batch) labels.
    Errors: batch_size 0; an image shape that neither the data nor crop_size tell. Source: data_layer.cpp.
    """

    param_field = "data_param"
    feed = DATABASE
    moved = ("scale", "mean_file", "crop_size", "mirror")
    to_shuffle = "sampling_param { shuffle: true } to data_param"

    def shuffles(self) -> bool:
        """netc's own field, or that of NVIDIA's and Intel's forks."""
        return super().shuffles() or bool(self.options.sampling_param.shuffle)
