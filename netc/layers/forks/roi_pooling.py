from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, count, exactly, format_shape, layer

if TYPE_CHECKING:
    from torch import Tensor, dtype

Bins = list[list[tuple[int, int]]]
"""For each region, where each of its rows (or columns) of cells begins and ends."""


class Regions(Layer):
    """A feature map and regions of interest on it: rows of (image, x1, y1, x2, y2) in pixels of the image."""

    bottoms = exactly(2)
    kind = "pooling"
    in_place = False
    no_gradient = (1,)
    lenient = True

    def check_regions(self, bottoms: Sequence[Shape]) -> None:
        shape, rois = bottoms
        if len(shape) != 4:
            self.fail(f"needs a bottom of 4 axes (N, C, H, W), found {format_shape(shape)}", "bottom[0]", code="L302")
        if not rois or count(rois, 1) != 5:
            found = f"needs regions of 5 numbers (image, x1, y1, x2, y2), found {format_shape(rois)}"
            self.fail(found, "bottom[1]", code="L302")

    def regions(self, x: Tensor, rois: Tensor) -> tuple[list[int], Tensor]:
        """The image of each region, and the other four numbers in a type that cells can be computed in."""
        import torch

        exact = torch.float64 if x.dtype == torch.float64 else torch.float32
        table = rois.detach().reshape(-1, 5).to(exact)
        images = [int(image) for image in table[:, 0].tolist()]
        if wrong := [image for image in images if not 0 <= image < len(x)]:
            found = f"a region of image {wrong[0]}, but the batch has {len(x)} (0 to {len(x) - 1})"
            self.fail(found, "bottom[1]", "the first number of a region counts the images of the batch", "L352")
        return images, table[:, 1:]


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
        import torch

        x, (rows, columns) = bottoms[0], (self.options.pooled_h, self.options.pooled_w)
        images, corners = self.regions(x, bottoms[1])
        if not images:
            return [x.new_zeros(0, x.shape[1], rows, columns)]
        edges = _rounded(corners * self.options.spatial_scale)
        across = _bins(edges[:, 0], edges[:, 2], columns, x.shape[3])
        down = _bins(edges[:, 1], edges[:, 3], rows, x.shape[2])
        return [torch.stack([_maxima(x[n], v, h) for n, v, h in zip(images, down, across, strict=True)])]


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

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_regions(bottoms)
        o, channels = self.options, bottoms[0][1]
        for name in ("spatial_scale", "output_dim", "group_size"):
            if getattr(o, name) <= 0:
                self.fail(f"needs a {name} above 0", f"psroi_pooling_param.{name}", f"add `{name}: …`")
        if channels != o.output_dim * o.group_size**2:
            found = f"needs output_dim · group_size² = {o.output_dim * o.group_size**2} channels, found {channels}"
            self.fail(found, "psroi_pooling_param", code="L302")
        return [(bottoms[1][0], o.output_dim, o.group_size, o.group_size)]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch

        x, group, scale = bottoms[0], self.options.group_size, self.options.spatial_scale
        images, corners = self.regions(x, bottoms[1])
        low, high = _rounded(corners[:, :2]) * scale, (_rounded(corners[:, 2:]) + 1) * scale
        across = _means(low[:, 0], high[:, 0], group, x.shape[3], x.dtype)
        down = _means(low[:, 1], high[:, 1], group, x.shape[2], x.dtype)
        maps = x.unflatten(1, (self.options.output_dim, group, group))
        top = x.new_zeros(len(images), self.options.output_dim, group, group)
        for n in sorted(set(images)):
            mine = torch.tensor([r for r, image in enumerate(images) if image == n], device=x.device)
            rows = torch.einsum("dijhw,rih->rdijw", maps[n], down[mine])
            top = top.index_copy(0, mine, torch.einsum("rdijw,rjw->rdij", rows, across[mine]))
        return [top]


def _rounded(x: Tensor) -> Tensor:
    """To the nearest whole number, halves away from zero, as C rounds."""
    return x.sign() * (x.abs() + 0.5).floor()


def _bins(begin: Tensor, end: Tensor, cells: int, limit: int) -> Bins:
    """Where the cells of each region begin and end on one axis."""
    import torch

    length = (end - begin + 1).clamp(min=1)
    step = (length / cells)[:, None]
    place = torch.arange(cells, dtype=begin.dtype, device=begin.device)[None]
    low = ((place * step).floor() + begin[:, None]).clamp(0, limit).long().tolist()
    high = (((place + 1) * step).ceil() + begin[:, None]).clamp(0, limit).long().tolist()
    return [list(zip(a, b, strict=True)) for a, b in zip(low, high, strict=True)]


def _maxima(x: Tensor, down: list[tuple[int, int]], across: list[tuple[int, int]]) -> Tensor:
    """(C, H, W) → (C, rows, columns): the largest value of each cell, 0 for an empty one.

    Columns come first, so that of equal values the first of the first row wins, as in a walk row by row.
    """
    import torch

    empty = x.new_zeros(x.shape[0])
    first, last = min(low for low, _ in down), max(high for _, high in down)
    rows = [x[:, first:last, a:b].max(2).values if a < b and first < last else None for a, b in across]
    cells = [
        [empty if row is None or a >= b else row[:, a - first : b - first].max(1).values for row in rows]
        for a, b in down
    ]
    return torch.stack([torch.stack(line, 1) for line in cells], 1)


def _means(begin: Tensor, end: Tensor, cells: int, limit: int, kind: dtype) -> Tensor:
    """(regions, cells, limit): the weight of each position in the mean over each cell of one axis."""
    import torch

    step = ((end - begin).clamp(min=0.1) / cells)[:, None]
    place = torch.arange(cells, dtype=begin.dtype, device=begin.device)[None]
    low = (place * step + begin[:, None]).floor().clamp(0, limit)
    high = ((place + 1) * step + begin[:, None]).ceil().clamp(0, limit)
    position = torch.arange(limit, dtype=begin.dtype, device=begin.device)
    inside = (position >= low[..., None]) & (position < high[..., None])
    return (inside / (high - low).clamp(min=1)[..., None]).to(kind)
