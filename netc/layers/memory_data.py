from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, exactly, layer
from netc.layers.sources import ARRAYS, SourceLayer


@layer("MemoryData")
class MemoryData(SourceLayer):
    """Batches of arrays that the calling program hands over: by `net.set_input_arrays(data, labels)`, or in the call.

    Fields: `memory_data_param { batch_size, channels, height, width }`, all at least 1.
    Shapes: none → (batch, channels, height, width), (batch). Source: memory_data_layer.cpp.
    """

    tops = exactly(2)
    also_reads = frozenset({"transform_param"})
    param_field = "memory_data_param"
    feed = ARRAYS

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        batch, *image = (self.positive(name) for name in ("batch_size", "channels", "height", "width"))
        return [(batch, *image), (batch,)]
