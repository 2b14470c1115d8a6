from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, at_least, layer
from netc.layers.sources import HDF5, RecordSource


@layer("HDF5Data")
class HDF5Data(RecordSource):
    """Batches of rows from HDF5 files; each top is the dataset of its name.

    Fields: `hdf5_data_param { source, batch_size, shuffle }`; source is a text file that lists the HDF5 files.
    Shapes: none → (batch, …the dataset's further axes) for each top; the files have to be there, as nothing in the
    prototxt tells them. Errors: batch_size 0; a transform_param (the layer has none). Source: hdf5_data_layer.cpp.
    """

    tops = at_least(1)
    param_field = "hdf5_data_param"
    feed = HDF5
    also_reads = frozenset()  # Caffe does not transform these data either
    remedy = "only the datasets tell: run a command that opens the data (train, test)"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if self.param.HasField("transform_param"):
            self.fail(
                "does not transform its data", "transform_param", "scale and crop them when writing the HDF5 files"
            )
        return super().setup(bottoms)

    def image_shape(self) -> Shape | None:
        return None
