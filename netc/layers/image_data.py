from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, exactly, layer
from netc.layers.sources import LIST, RecordSource


@layer("ImageData")
class ImageData(RecordSource):
    """Batches of image files named, with their labels, in a list (docs/prototxt.md has its lines).

    Fields: `image_data_param { source, root_folder, batch_size, shuffle, new_height, new_width, is_color }`,
    `transform_param`. Shapes: none → (batch, channels, height, width), (batch); with several labels a line (batch,
    labels).
    Errors: batch_size 0; only one of new_height and new_width. Source: image_data_layer.cpp.
    """

    tops = exactly(2)
    param_field = "image_data_param"
    feed = LIST
    moved = ("scale", "mean_file", "crop_size", "mirror")

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        height, width = self.options.new_height, self.options.new_width
        if bool(height) != bool(width):
            missing = "new_width" if height else "new_height"
            self.fail("new_height and new_width are given together or not at all", "image_data_param", f"add {missing}")
        return super().setup(bottoms)

    def image_shape(self) -> Shape | None:
        height, width = self.options.new_height, self.options.new_width
        if self.param.transform_param.crop_size or not height:
            return super().image_shape()
        return (self.channels(), height, width)

    def resized(self, image: Shape) -> Shape:
        height, width = self.options.new_height, self.options.new_width
        return (*image[:1], height, width) if height and width else image

    def channels(self) -> int:
        return 3 if self.options.is_color else 1
