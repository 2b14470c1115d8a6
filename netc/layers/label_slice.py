from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, count, exactly, format_shape, layer
from netc.layers.code import Code, Site, call
from netc.layers.losses import check_labels

if TYPE_CHECKING:
    from torch import Tensor


@layer("LabelSlice")
class LabelSlice(Layer):
    """The part of each sample's channels that belongs to its label: y[n] = x[n, label·K … label·K + K - 1].

    netc's own, for nets that predict something for each class and are trained on that of the true one: only its part
    gets a gradient. Fields: `label_slice_param { slice_size (1) }`, K. Shapes: (N, classes · K, …), (N) labels →
    (N, K, …). Errors: channels that K does not divide, label count, a label outside the classes.
    Source: the paper's per-class regression of boxes (appendix A.1), K = 4.
    """

    is_measure = True
    passes = slice(1)
    bottoms = exactly(2)
    no_gradient = (1,)
    force_backward_skips = (1,)
    in_place = False
    param_field = "label_slice_param"
    kind = "join"
    size: int
    settings: dict[str, Any]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape, labels = bottoms
        self.size, self.settings = int(self.options.slice_size), self.changed(size="slice_size")
        if len(shape) < 2 or not self.size or shape[1] % self.size:
            found = f"cannot cut {format_shape(shape)} into slices of {self.size} along axis 1"
            self.fail(found, "label_slice_param.slice_size", "num_output below is slice_size times the classes", "L302")
        if count(labels) != shape[0]:
            found = f"{count(labels)} labels ({format_shape(labels)}) for {shape[0]} samples"
            self.fail(found, "bottom[1]", "give one label for each sample", "L302")
        return [(shape[0], self.size, *shape[2:])]

    def class_count(self, bottoms: Sequence[Shape]) -> int | None:
        return bottoms[0][1] // self.size

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.rearranging import label_slice

        try:
            return [label_slice(bottoms[0], bottoms[1], **self.settings)]
        except (IndexError, RuntimeError):  # on a CPU torch looks at every index anyway
            check_labels(self, bottoms[1], bottoms[0].shape[1] // self.size)
            raise

    def emit(self, site: Site) -> Code:
        return Code(call("label_slice", *site.bottoms, **self.settings))
