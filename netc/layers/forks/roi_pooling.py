from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, check_planes, count, exactly, format_shape, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


class Regions(Layer):
    """A feature map and regions of interest on it: rows of (image, x1, y1, x2, y2) in pixels of the image."""

    bottoms = exactly(2)
    kind = "pooling"
    in_place = False
    no_gradient = (1,)
    lenient = True
    mixes_rows = True

    def check_regions(self, bottoms: Sequence[Shape]) -> None:
        shape, rois = bottoms
        check_planes(self, shape, "bottom[0]")
        if not rois or count(rois, 1) != 5:
            found = f"needs regions of 5 numbers (image, x1, y1, x2, y2), found {format_shape(rois)}"
            self.fail(found, "bottom[1]", code="L302")

    def whole_numbers(self, bottoms: Sequence[Shape]) -> Mapping[int, Sequence[int]]:
        """The image, and corners that lie on it."""
        images, _, *plane = bottoms[0]
        height, width = (max(1, int(size / (self.options.spatial_scale or 1))) for size in plane)
        return {1: (images, width, height, width, height)}

    def check_images(self, x: Tensor, rois: Tensor) -> None:
        """Fail where a region is of an image that is not in the batch."""
        images = [int(image) for image in rois.detach().reshape(-1, 5)[:, 0].tolist()]
        if wrong := [image for image in images if not 0 <= image < len(x)]:
            found = f"a region of image {wrong[0]}, but the batch has {len(x)} (0 to {len(x) - 1})"
            self.fail(found, "bottom[1]", "the first number of a region counts the images of the batch", "L352")


@layer("ROIPooling")
class ROIPooling(Regions):
    """The maximum over each cell of a grid of pooled_h × pooled_w that is laid over each region of interest.

    Corners are multiplied by spatial_scale and rounded (halves away from zero); a region is at least 1 × 1, and its
    corners belong to it. Cell i of a side of length l goes from floor(i · l / pooled) to ceil((i + 1) · l / pooled),
    cut off at the map's edge; a cell with nothing in it gives 0. The gradient goes to the first maximum, rows first.
    Fields: `pooled_h`, `pooled_w` (required), `spatial_scale` (1).
    Shapes: (N, C, H, W), (R, 5) → (R, C, pooled_h, pooled_w). Errors: shapes; a region of an image that is not in the
    batch (L352). Source: Fast R-CNN (Girshick, 2015), section 2.1; roi_pooling_layer.cpp of rbgirshick/caffe-fast-rcnn.
    """

    fork = "Fast R-CNN (rbgirshick/caffe-fast-rcnn)"
    param_field = "roi_pooling_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_regions(bottoms)
        for name in ("pooled_h", "pooled_w"):
            if getattr(self.options, name) < 1:
                self.fail(f"needs a {name} of at least 1", f"roi_pooling_param.{name}", f"add `{name}: 7`")
        return [(bottoms[1][0], bottoms[0][1], self.options.pooled_h, self.options.pooled_w)]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.regions import roi_pool

        x, rois = bottoms
        self.check_images(x, rois)
        return [roi_pool(x, rois, (self.options.pooled_h, self.options.pooled_w), self.options.spatial_scale)]

    has_operators = True

    def operators(self, op: Any, bottoms: Sequence[Any]) -> Sequence[Any]:
        x, rois = bottoms
        size = [self.options.pooled_h, self.options.pooled_w]
        table = op.Reshape(rois, op.Constant(value_ints=[-1, 5]))
        return [op.MaxRoiPool(x, table, pooled_shape=size, spatial_scale=self.options.spatial_scale)]

    def traced_shapes(self, bottoms: Sequence[Shape], unknown: Callable[[], Any]) -> Sequence[Shape]:
        return [(bottoms[1][0], bottoms[0][1], self.options.pooled_h, self.options.pooled_w)]

    def emit(self, site: Site) -> Code:
        size = (self.options.pooled_h, self.options.pooled_w)
        return Code(call("roi_pool", *site.bottoms, size, **self.changed(spatial_scale="spatial_scale")))


@layer("PSROIPooling")
class PSROIPooling(Regions):
    """The mean over each cell of a grid of group_size × group_size, each cell looking at channels of its own.

    Channel d of cell (i, j) is the mean over the bottom's channel (d · g + i) · g + j. A region goes from round(x1) ·
    spatial_scale to (round(x2) + 1) · spatial_scale, is at least 0.1 long, and is divided without rounding; cells are
    rounded outwards and cut off at the map's edge. An empty cell gives 0.
    Fields: `spatial_scale`, `output_dim`, `group_size`, all required.
    Shapes: (N, output_dim · g², H, W), (R, 5) → (R, output_dim, g, g). Errors: another number of channels; a region of
    an image that is not in the batch (L352).
    Source: R-FCN (Dai et al., 2016), section 2; psroi_pooling_layer.cu of daijifeng001/caffe-rfcn.
    """

    fork = "R-FCN (daijifeng001/caffe-rfcn)"
    param_field = "psroi_pooling_param"
    settings: dict[str, Any]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_regions(bottoms)
        o, channels = self.options, bottoms[0][1]
        for name in ("spatial_scale", "output_dim", "group_size"):
            if getattr(o, name) <= 0:
                self.fail(f"needs a {name} above 0", f"psroi_pooling_param.{name}", f"add `{name}: …`")
        if channels != o.output_dim * o.group_size**2:
            found = f"needs output_dim · group_size² = {o.output_dim * o.group_size**2} channels, found {channels}"
            self.fail(found, "psroi_pooling_param", code="L302")
        self.settings = self.changed(output_dim="output_dim", group_size="group_size", spatial_scale="spatial_scale")
        return [(bottoms[1][0], o.output_dim, o.group_size, o.group_size)]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.regions import psroi_pool

        self.check_images(*bottoms)
        return [psroi_pool(*bottoms, **self.settings)]

    def emit(self, site: Site) -> Code:
        return Code(call("psroi_pool", *site.bottoms, **self.settings))
