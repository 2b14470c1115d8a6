from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, canonical_axis, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


@layer("Tile")
class Tile(Layer):
    """The bottom `tiles` times one after the other along `axis` (1).

    Shapes: the size on the axis times `tiles`. Errors: tiles not given or 0, axis out of range. Source: tile_layer.cpp.
    """

    passes = slice(None)
    in_place = False
    param_field = "tile_param"
    kind = "join"
    axis: int

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape, tiles = bottoms[0], self.options.tiles
        if tiles < 1:
            self.fail("needs tiles of at least 1", "tile_param.tiles", "add `tiles: 2`")
        self.axis = axis = canonical_axis(self, self.options.axis, shape, "tile_param.axis")
        self.mixes_rows = axis == 0
        return [(*shape[:axis], shape[axis] * tiles, *shape[axis + 1 :])]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x = bottoms[0]
        return [x.repeat(*[self.options.tiles if axis == self.axis else 1 for axis in range(x.dim())])]

    def emit(self, site: Site) -> Code:
        repeats = [self.options.tiles if axis == self.axis else 1 for axis in range(len(site.shape))]
        return Code(call(f"{site.x}.repeat", *repeats))
