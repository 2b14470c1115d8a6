from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, at_least, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("Split")
class Split(Layer):
    """Each top is the bottom; their gradients add. Inserted where a blob has several readers.

    Shapes: any → the same for each top. Source: split_layer.cpp.
    """

    passes = slice(None)
    tops = at_least(1)
    keeps_places = True
    in_place = False
    kind = "join"
    keeps_values = keeps_zeros = keeps_rms = True
    copies_bottom = True
    copies: int

    def takes_any_form(self) -> bool:
        return True

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.copies = len(self.param.top)
        return [bottoms[0]] * self.copies

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return [bottoms[0]] * self.copies

    def emit(self, site: Site) -> Code:
        return Code((site.x,) * self.copies)


@layer("Silence")
class Silence(Layer):
    """Takes any blobs and makes nothing of them, so that they are not outputs of the net.

    Shapes: any → no top. Source: silence_layer.cpp.
    """

    bottoms = at_least(1)
    tops = at_least(0)
    kind = "measure"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        return []

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return []

    def emit(self, site: Site) -> Code:
        return Code(())
