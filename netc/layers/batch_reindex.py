from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, at_least, exactly, format_shape, layer
from netc.layers.code import Code, Site
from netc.layers.losses import check_range

if TYPE_CHECKING:
    from torch import Tensor


@layer("BatchReindex")
class BatchReindex(Layer):
    """Samples of bottom 0 in the order of the indices in bottom 1: y[i] = x[index[i]]; gradients of repeats add.

    Shapes: (N, …), (M) → (M, …). Errors: indices with more than one axis, an index outside 0 … N - 1.
    Source: batch_reindex_layer.cpp.
    """

    passes = slice(1)
    mixes_rows = True
    bottoms = exactly(2)
    no_gradient = (1,)
    in_place = False
    kind = "join"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if len(bottoms[1]) != 1 or not bottoms[0]:
            self.fail(f"needs indices with one axis, found {format_shape(bottoms[1])}", "bottom[1]", code="L302")
        return [(*bottoms[1], *bottoms[0][1:])]

    def whole_numbers(self, bottoms: Sequence[Shape]) -> Mapping[int, Sequence[int]]:
        return {1: bottoms[0][:1]}

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        index = bottoms[1].detach().long()
        check_range(self, index, bottoms[0].shape[0], "bottom[1]", "index", "the batch has {} samples")
        return [bottoms[0].index_select(0, index)]

    def emit(self, site: Site) -> Code:
        return Code(f"{site.x}[{site.bottoms[1]}.long()]")


@layer("Filter")
class Filter(Layer):
    """Keeps the samples whose selector (the last bottom) is not 0, of each of the other bottoms.

    Shapes: (N, …) …, selector (N) → (kept, …) …; as compiled, kept is N.
    Errors: batch sizes that differ, a selector with more than one value a sample, tops not one less than bottoms.
    Source: filter_layer.cpp.
    """

    passes = slice(-1)
    mixes_rows = True
    bottoms = at_least(2)
    tops = at_least(1)
    no_gradient = (-1,)
    in_place = False
    kind = "join"

    def top_count(self) -> int | None:
        return len(self.param.bottom) - 1

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        *kept, selector = bottoms
        if any(size != 1 for size in selector[1:]) or not selector:
            self.fail(f"needs one selector value a sample, found {format_shape(selector)}", "bottom", code="L302")
        for index, shape in enumerate(kept):
            if shape[:1] != selector[:1]:
                found = f"bottom {index} is {format_shape(shape)}, the selector {format_shape(selector)}"
                self.fail(f"its bottoms differ in batch size: {found}", f"bottom[{index}]", code="L302")
        return kept

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        index = bottoms[-1].detach().flatten().nonzero()[:, 0]
        return [x.index_select(0, index) for x in bottoms[:-1]]

    def emit(self, site: Site) -> Code:
        *kept, selector = site.bottoms
        return Code(tuple(f"{x}[{selector}.flatten() != 0]" for x in kept))
