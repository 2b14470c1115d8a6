from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, between, canonical_axis, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


@layer("ContinuationIndicator")
class ContinuationIndicator(Layer):
    """The marks of sequences that LSTM and RNN take: 0 in the first step, 1 in all that follow.

    Fields: `time_step` (required), `batch_size`, or a bottom whose size on `axis` (0) is the number of sequences.
    Shapes: nothing, or any → (time_step, sequences). Errors: no number of sequences. No gradient.
    Source: continuation_indicator_layer.cpp of xmfbit/warpctc-caffe.
    """

    fork = "warp-ctc (xmfbit/warpctc-caffe)"
    bottoms = between(0, 1)
    in_place = False
    no_gradient = None
    param_field = "continuation_indicator_param"
    axis: int

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        o, field = self.options, "continuation_indicator_param"
        if o.time_step < 1:
            self.fail("needs a time_step of at least 1", f"{field}.time_step", "add `time_step: 32`")
        if bottoms:
            self.axis = canonical_axis(self, o.axis, bottoms[0], f"{field}.axis")
            return [(o.time_step, bottoms[0][self.axis])]
        if o.batch_size < 1:
            self.fail("needs a bottom or a batch_size", field, "add `batch_size: 1`")
        return [(o.time_step, o.batch_size)]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.rearranging import continuation_marks

        steps = self.options.time_step
        if not bottoms:
            return [continuation_marks(steps, self.options.batch_size)]
        return [continuation_marks(steps, bottoms[0].shape[self.axis], bottoms[0])]

    def emit(self, site: Site) -> Code:
        steps = self.options.time_step
        if not site.bottoms:
            return Code(call("continuation_marks", steps, self.options.batch_size))
        return Code(call("continuation_marks", steps, f"{site.x}.shape[{self.axis}]", site.x))
