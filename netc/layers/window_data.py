from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, exactly, layer
from netc.layers.sources import Source


@layer("WindowData")
class WindowData(Source):
    """Batches of image windows, foreground and background, from an R-CNN window file.

    Fields: `window_data_param { source, batch_size, crop_size, fg_fraction, … }`. Shapes: none →
    (batch, 3, crop, crop), (batch). Errors: batch_size or crop_size 0. Source: window_data_layer.cpp.
    """

    tops = exactly(2)
    param_field = "window_data_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        batch = self.positive("batch_size")
        crop = int(self.param.transform_param.crop_size) or self.positive("crop_size")
        return [(batch, 3, crop, crop), (batch,)]
