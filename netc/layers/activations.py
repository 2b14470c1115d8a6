from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, layer
from netc.layers.code import Code, Site, number

if TYPE_CHECKING:
    from torch import Tensor


class Pointwise(Layer):
    """A function of each value by itself: the top has the bottom's shape."""

    inline = True
    keeps_places = True
    kind = "activation"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check()
        return [bottoms[0]]

    def check(self) -> None:
        """Check the settings."""

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        return [self.value(bottoms[0])]

    def value(self, x: Tensor) -> Tensor:
        raise NotImplementedError


@layer("AbsVal")
class AbsVal(Pointwise):
    """y = |x|, with the gradient 0 at 0. Cannot work in place. Shapes: any → the same. Source: absval_layer.cpp."""

    in_place = False
    keeps_zeros = True

    def value(self, x: Tensor) -> Tensor:
        return x.abs()

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Abs(x[0])]

    def emit(self, site: Site) -> Code:
        return Code(f"torch.abs({site.x})")


@layer("BNLL")
class BNLL(Pointwise):
    """y = log(1 + exp(x)), binomial normal log likelihood. Shapes: any → the same. Source: bnll_layer.cpp."""

    def value(self, x: Tensor) -> Tensor:
        import torch.nn.functional as F

        return F.softplus(x, threshold=50)

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Softplus(x[0])]

    def emit(self, site: Site) -> Code:
        return Code(f"F.softplus({site.x}, threshold=50)")


@layer("Clip")
class Clip(Pointwise):
    """y = max(min(x, max), min); the gradient passes at both bounds.

    Fields: `min`, `max`, both required in a clip_param and 0 without one. With a min above max, y is min everywhere.
    Shapes: any → the same. Source: clip_layer.cpp.
    """

    param_field = "clip_param"

    def value(self, x: Tensor) -> Tensor:
        import torch

        low, high = self.options.min, self.options.max
        return x.clamp(low, high) if low <= high else torch.full_like(x, low)

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        low, high = self.options.min, self.options.max
        return [op.Clip(x[0], op.numbers(low), op.numbers(high))] if low <= high else None

    def emit(self, site: Site) -> Code:
        low, high = self.options.min, self.options.max
        if low > high:
            return Code(f"torch.full_like({site.x}, {number(low)})")
        return Code(f"torch.clamp({site.x}, {number(low)}, {number(high)})")


@layer("ELU")
class ELU(Pointwise):
    """y = x for x > 0, else alpha · (exp(x) - 1).

    Fields: `alpha` (1); `lambda` (1), NVIDIA's factor on all of it. Shapes: any → the same. Source: elu_layer.cpp.
    """

    param_field = "elu_param"
    keeps_zeros = backward_reads_top = True
    factor: float

    def check(self) -> None:
        self.factor = getattr(self.options, "lambda")

    def value(self, x: Tensor) -> Tensor:
        import torch.nn.functional as F

        y = F.elu(x, self.options.alpha)
        return y if self.factor == 1 else y * self.factor

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        y = op.Elu(x[0], alpha=self.options.alpha)
        return [y if self.factor == 1 else op.Mul(y, op.numbers(self.factor))]

    def emit(self, site: Site) -> Code:
        alpha = self.options.alpha
        call = f"F.elu({site.x}, {number(alpha)})" if alpha != 1 else f"F.elu({site.x})"
        return Code(f"{number(self.factor)} * {call}" if self.factor != 1 else call)


@layer("ReLU6")
class ReLU6(Pointwise):
    """y = min(max(x, 0), 6). The gradient at 0 and at 6 is 0.

    Shapes: any → the same. Source: MobileNets (Howard et al., 2017); relu6_layer.cpp of eric612/MobileNet-YOLO.
    """

    fork = "MobileNet-YOLO (eric612)"
    keeps_zeros = True

    def dead_at_zero(self) -> bool:
        return True

    def value(self, x: Tensor) -> Tensor:
        import torch.nn.functional as F

        return F.relu6(x)

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Clip(x[0], op.numbers(0.0), op.numbers(6.0))]

    def emit(self, site: Site) -> Code:
        return Code(f"F.relu6({site.x})")


@layer("SeLu")
class SeLu(Pointwise):
    """y = 1.0507 · x for x > 0, else 1.0507 · 1.67326 · (exp(x) - 1): the scaled exponential linear unit.

    Shapes: any → the same. Source: Self-Normalizing Neural Networks (Klambauer et al., 2017), equation 2.
    """

    fork = "jolibrain/caffe"
    keeps_zeros = True

    def value(self, x: Tensor) -> Tensor:
        import torch.nn.functional as F

        return F.selu(x)

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Selu(x[0])]

    def emit(self, site: Site) -> Code:
        return Code(f"F.selu({site.x})")


@layer("Sigmoid")
class Sigmoid(Pointwise):
    """y = 1 / (1 + exp(-x)). Shapes: any → the same. Source: sigmoid_layer.cpp."""

    param_field = "sigmoid_param"
    is_positive = backward_reads_top = True

    def value(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Sigmoid(x[0])]

    def emit(self, site: Site) -> Code:
        return Code(f"torch.sigmoid({site.x})")


@layer("Swish")
class Swish(Pointwise):
    """y = x / (1 + exp(-beta · x)). Fields: `beta` (1). Shapes: any → the same. Source: swish_layer.cpp."""

    param_field = "swish_param"
    inline = False
    keeps_zeros = True

    def value(self, x: Tensor) -> Tensor:
        import torch.nn.functional as F

        beta = self.options.beta
        return F.silu(x) if beta == 1 else x * (x * beta).sigmoid()

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        beta = self.options.beta
        scaled = x[0] if beta == 1 else op.Mul(x[0], op.numbers(beta))
        return [op.Mul(x[0], op.Sigmoid(scaled))]

    def emit(self, site: Site) -> Code:
        beta = self.options.beta
        return Code(f"F.silu({site.x})" if beta == 1 else f"{site.x} * torch.sigmoid({number(beta)} * {site.x})")


@layer("TanH")
class TanH(Pointwise):
    """y = tanh(x). Shapes: any → the same. Source: tanh_layer.cpp."""

    param_field = "tanh_param"
    keeps_zeros = backward_reads_top = True

    def rms(self, bottom: float, *others: float | None) -> float | None:
        return min(bottom, 1.0)

    def value(self, x: Tensor) -> Tensor:
        return x.tanh()

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        return [op.Tanh(x[0])]

    def emit(self, site: Site) -> Code:
        return Code(f"torch.tanh({site.x})")


@layer("Threshold")
class Threshold(Pointwise):
    """y = 1 where x > threshold, else 0; no gradient.

    Fields: `threshold` (0). Shapes: any → the same. Source: threshold_layer.cpp.
    """

    param_field = "threshold_param"
    inline = False
    no_gradient = None

    def value(self, x: Tensor) -> Tensor:
        above: Tensor = x > self.options.threshold
        return above.to(x.dtype)

    def emit(self, site: Site) -> Code:
        return Code(f"({site.x} > {number(self.options.threshold)}).to({site.x}.dtype)")
