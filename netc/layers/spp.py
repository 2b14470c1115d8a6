from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, check_planes, count, format_shape, layer
from netc.layers.code import Code, Site
from netc.layers.functions.windows import pooled_size, pyramid_level

if TYPE_CHECKING:
    from torch import Tensor


MAX, AVE = 0, 1


@layer("SPP")
class SPP(Layer):
    """Spatial pyramid pooling: level i pools each channel over a grid of 2^i × 2^i, and the levels are concatenated.

    Fields: `pyramid_height`, `pool` MAX | AVE.
    A level's kernel and stride are ceil(size / 2^i), its pad is (rest + 1) / 2.
    Shapes: (N, C, H, W) → (N, C · (4^height - 1) / 3) where Caffe's pooling fills every grid; with one level
    (N, C, 1, 1). Errors: pyramid_height 0, a grid finer than the image, STOCHASTIC. Source: spp_layer.cpp.
    """

    in_place = False
    param_field = "spp_param"
    kind = "pooling"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape, height = bottoms[0], self.options.pyramid_height
        if height < 1:
            self.fail("needs a pyramid_height of at least 1", "spp_param.pyramid_height", "add `pyramid_height: 3`")
        if self.options.pool not in (MAX, AVE):
            self.fail("stochastic pooling is not available", "spp_param.pool", "take MAX or AVE")
        check_planes(self, shape)
        grids = [self._grid(level, shape) for level in range(height)]
        return [(*shape[:2], *grids[0]) if height == 1 else (shape[0], shape[1] * sum(map(count, grids)))]

    def _grid(self, level: int, shape: Shape) -> Shape:
        kernel, stride, pad = pyramid_level(level, shape[2:])
        if any(p >= k for p, k in zip(pad, kernel, strict=True)):
            found = f"level {level} asks for {2**level} × {2**level} cells of {format_shape(shape)}"
            self.fail(found, "spp_param.pyramid_height", "lower it, or take larger images", "L302")
        return pooled_size(shape[2:], kernel, stride, pad)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import pooling

        pool = pooling.max_pool if self.options.pool == MAX else pooling.avg_pool
        return [pooling.pyramid_pool(bottoms[0], self.options.pyramid_height, pool)]

    def emit(self, site: Site) -> Code:
        pool = "max_pool" if self.options.pool == MAX else "avg_pool"
        return Code(f"pyramid_pool({site.x}, {self.options.pyramid_height}, {pool})")
