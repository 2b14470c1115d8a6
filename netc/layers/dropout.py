from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.affine import Affine, doubles
from netc.layers.base import Layer, Run, Shape, layer
from netc.layers.code import Code, Site, number

if TYPE_CHECKING:
    from torch import Tensor


@layer("Dropout")
class Dropout(Layer):
    """TRAIN: each value is 0 with probability dropout_ratio, else x / (1 - dropout_ratio). TEST: y = x. The phase is
    the layer's own, which `phase:` may set against the net's.

    Fields: `dropout_ratio` (0.5); SegNet's `sample_weights_test` (false: with it TEST does as TRAIN does) and R-FCN's
    `scale_train` (true; false leaves what is kept in TRAIN as it is and multiplies by 1 - ratio in TEST). Shapes: any →
    the same. Errors: a ratio outside [0, 1] where it counts (Caffe draws no mask in TEST). Source: dropout_layer.cpp.
    """

    param_field = "dropout_param"
    keeps_places = True
    kind = "activation"
    keeps_zeros = keeps_rms = drops_values = True
    idle = "in the TEST phase"

    def takes_any_form(self) -> bool:
        return True

    def summary(self) -> str | None:
        return f"{self.options.dropout_ratio:g}"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        ratio = self.options.dropout_ratio
        if self._counts() and not 0 <= ratio <= 1:
            self.fail(
                f"dropout_ratio {ratio:g} is not a probability",
                "dropout_param.dropout_ratio",
                "0.5 drops every second value",
            )
        return [bottoms[0]]

    def _counts(self) -> bool:
        """Whether the ratio has any effect."""
        return self.phase == 0 or self.options.sample_weights_test or not self.options.scale_train

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x = bottoms[0]
        if self.phase == 0 or self.options.sample_weights_test:
            return [x * self._mask(run, x)]
        return [x if self.options.scale_train else x * (1 - self.options.dropout_ratio)]

    def hands_on(self) -> bool:
        return not self._counts()

    def affine(self, arrays: Sequence[Any], bottoms: Sequence[Shape]) -> Affine | str:
        if self.phase == 0 or self.options.sample_weights_test:
            return "it draws random numbers"
        return Affine(None, *doubles(1 if self.options.scale_train else 1 - self.options.dropout_ratio, 0))

    def emit(self, site: Site) -> Code:
        """In the TEST phase nothing; in a TRAIN net it follows `net.train()` and `net.eval()`."""
        ratio, scales = number(self.options.dropout_ratio), self.options.scale_train
        kept = number(1 - self.options.dropout_ratio)
        dropped = f"{site.x} * (torch.rand_like({site.x}) >= {ratio})"
        if self.phase == 0:
            follows = f"F.dropout({site.x}, {ratio}, training=self.training)"
            return Code(follows if scales else f"{dropped} if self.training else {kept} * {site.x}")
        if self.options.sample_weights_test:
            return Code(f"F.dropout({site.x}, {ratio})" if scales else dropped)
        return Code(site.x if scales else f"{kept} * {site.x}")

    def _mask(self, run: Run, x: Tensor) -> Tensor:
        """In float32 at least: bfloat16 has no 1 / 0.6."""
        import torch

        ratio = self.options.dropout_ratio
        kept: Tensor = (run.uniform(self, x) >= ratio).to(torch.float32 if x.dtype == torch.bfloat16 else x.dtype)
        return kept * (1 / (1 - ratio)) if ratio < 1 and self.options.scale_train else kept
