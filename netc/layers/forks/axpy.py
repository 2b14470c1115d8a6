from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, exactly, format_shape, layer
from netc.layers.code import Code, Site

if TYPE_CHECKING:
    from torch import Tensor


@layer("Axpy")
class Axpy(Layer):
    """y = a · x + b, one factor a for each channel of each image: the end of a squeeze-and-excitation block.

    Bottoms: a (N, C) or (N, C, 1, 1), x (N, C, …), b like x. Shapes: → that of x. Errors: shapes that do not fit.
    Source: Squeeze-and-Excitation Networks (Hu et al., 2017); axpy_layer.cpp of hujie-frank/SENet.
    """

    fork = "SENet (hujie-frank)"
    bottoms = exactly(3)
    in_place = False
    kind = "join"
    ends_block = True

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        a, x, b = bottoms
        if b != x:
            listed = f"{format_shape(x)} and {format_shape(b)}"
            self.fail(f"its second and third bottom differ in shape: {listed}", "bottom[2]", code="L302")
        if len(x) < 2 or a[:2] != x[:2] or any(size != 1 for size in a[2:]):
            found = f"{format_shape(a)} factors for {format_shape(x)}"
            self.fail(found, "bottom[0]", "give one factor for each image and channel: (N, C) or (N, C, 1, 1)", "L302")
        return [x]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch

        a, x, b = bottoms
        return [torch.addcmul(b, a.reshape(*x.shape[:2], *[1] * (x.dim() - 2)), x)]

    def emit(self, site: Site) -> Code:
        a, x, b = site.bottoms
        factors, shape = site.shapes[:2]
        if len(factors) < len(shape):
            a += f"[..., {', '.join(['None'] * (len(shape) - len(factors)))}]"
        elif len(factors) > len(shape):
            a += f".reshape({x}.shape[:2])"
        return Code(f"torch.addcmul({b}, {a}, {x})")


@layer("BroadcastMul")
class BroadcastMul(Layer):
    """y = a · b, where axes of b that have the size 1 are repeated: a channel's factor for all of its positions.

    Bottoms: a (N, C, …), b of as many axes, each of a's size or 1. Shapes: → that of a. Errors: axes that do not fit.
    Source: EfficientNet (Tan, Le, 2019), its squeeze-and-excitation; broadcast_mul_layer.cpp of jolibrain/caffe.
    """

    fork = "jolibrain/caffe"
    bottoms = exactly(2)
    in_place = False

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        a, b = bottoms
        if len(a) != len(b) or any(other not in (1, size) for size, other in zip(a, b, strict=True)):
            found = f"{format_shape(b)} cannot be repeated to {format_shape(a)}"
            self.fail(found, "bottom[1]", "give as many axes, each of the same size or 1", "L302")
        return [a]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return [bottoms[0] * bottoms[1]]

    def emit(self, site: Site) -> Code:
        return Code(" * ".join(site.bottoms))
