from __future__ import annotations

from collections.abc import Sequence

from netc.errors import did_you_mean
from netc.layers.base import Shape, exactly, layer
from netc.layers.sources import WINDOWS, SourceLayer

MODES = ("warp", "square")


@layer("WindowData")
class WindowData(SourceLayer):
    """Batches of boxes of images, background and objects, from an R-CNN window file, resized to squares.

    A batch begins with background (label 0: boxes whose overlap is below bg_threshold) and ends with
    int(batch_size · fg_fraction) objects (overlap of fg_threshold or more), each drawn at random. `crop_mode` warp
    resizes a box as it is, square the square around it; `context_pad` pixels of surroundings are shown on each side.
    What lies beyond the image is 0 after the mean is subtracted.
    Fields: `window_data_param { source, root_folder, batch_size, fg_threshold, bg_threshold, fg_fraction, context_pad,
    crop_mode, cache_images }`, `transform_param { crop_size, mirror, mean_file | mean_value, scale }`.
    Shapes: none → (batch, 3, crop, crop), (batch). Errors: batch_size or crop_size 0, a context_pad that leaves nothing
    of the box. Source: window_data_layer.cpp.
    """

    tops = exactly(2)
    also_reads = frozenset({"transform_param"})
    param_field = "window_data_param"
    feed = WINDOWS
    moved = ("mean_file", "mirror")

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        batch = self.positive("batch_size")
        crop = int(self.param.transform_param.crop_size) or self.positive("crop_size")
        if 2 * self.options.context_pad >= crop:
            found = f"context_pad {self.options.context_pad} on each side leaves nothing of crop_size {crop}"
            self.fail(found, "window_data_param.context_pad", f"take less than {(crop + 1) // 2}")
        if not 0 <= self.options.fg_fraction <= 1:
            found = f"fg_fraction {self.options.fg_fraction:g} is not a share"
            self.fail(found, "window_data_param.fg_fraction", "0.25 makes a quarter of the batch objects")
        if self.options.crop_mode not in MODES:
            found = f'unknown crop_mode "{self.options.crop_mode}"{did_you_mean(self.options.crop_mode, MODES)}'
            self.fail(found, "window_data_param.crop_mode", "warp or square")
        return [(batch, 3, crop, crop), (batch,)]
