from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, at_least, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("Gather")
class Gather(Layer):
    """Each top is its bottom. In a fork that trains on several GPUs, Gather puts the parts of a batch together from all
    of them and Scatter parts it again, so that the layers in between see all of it; one process has all of it anyway.

    Shapes: any → the same, as many tops as bottoms. Source: gather_layer.cpp of yjxiong/caffe.
    """

    passes = slice(None)
    fork = "the fork for action recognition (yjxiong/caffe)"
    bottoms = at_least(1)
    tops = at_least(1)
    same_count = True
    parallel = True
    keeps_values = keeps_zeros = keeps_rms = True

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        return list(bottoms)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return [bottom.view_as(bottom) for bottom in bottoms]

    def emit(self, site: Site) -> Code:
        return Code(site.bottoms)


@layer("Scatter")
class Scatter(Gather):
    """The counterpart of Gather; each top is its bottom.

    Shapes: any → the same, as many tops as bottoms. Source: scatter_layer.cpp of yjxiong/caffe.
    """
