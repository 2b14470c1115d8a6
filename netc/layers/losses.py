"""What the losses share: how a sum is normalised, what a label may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from netc.layers.base import Layer, Run, Shape, canonical_axis, count, exactly, format_shape
from netc.layers.code import Code, Site, call
from netc.layers.facts import LABELS, SAMPLES, SUM

if TYPE_CHECKING:
    from torch import Tensor

VALID, BATCH_SIZE = "valid", "batch_size"
_REMEDY = "correct the labels, num_output of the last layer, or ignore_label"


class Loss(Layer):
    """A scalar loss of two bottoms with the same first dimension: predictions and targets.

    It is a function of the bottoms and of settings: `function` is its name in netc.layers.functions.losses. Where that
    gives several values (`values`), the tops are the first of them.
    """

    bottoms = exactly(2)
    is_loss = True
    no_gradient: ClassVar[tuple[int, ...] | None] = (1,)
    force_backward_skips: ClassVar[tuple[int, ...]] = (1,)
    in_place = False
    function: ClassVar[str]
    values: ClassVar[int] = 1
    settings: dict[str, Any]
    wanted: int

    def check_batches(self, bottoms: Sequence[Shape]) -> None:
        first = [shape[:1] for shape in bottoms]
        if len(set(first)) > 1 or not first[0]:
            listed = " and ".join(format_shape(shape) for shape in bottoms)
            self.fail(f"its bottoms differ in batch size: {listed}", "bottom", code="L302")

    def first_tops(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        """As many of the function's values as there are tops."""
        self.wanted = len(self.param.top) or 1
        return shapes[: self.wanted]

    def explain(self, bottoms: Sequence[Tensor]) -> None:
        """The function has failed: fail with the place of what it cannot take (a label outside the classes)."""

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import losses

        try:
            found = getattr(losses, self.function)(*bottoms, **self.settings)
        except (IndexError, RuntimeError):  # on a CPU torch looks at every index anyway
            self.explain(bottoms)
            raise
        return [found] if self.values == 1 else found[: self.wanted]

    def emit(self, site: Site) -> Code:
        found = call(self.function, *site.bottoms, **self.settings)
        if site.tops < self.values:
            found += "[0]" if site.tops == 1 else f"[:{site.tops}]"
        return Code(found, together=site.tops > 1)


class LabelLoss(Loss):
    """A loss of scores and of a label for each position of theirs."""

    axis: int

    def read_labels(self, bottoms: Sequence[Shape], axis: int, field: str) -> None:
        """Note the class axis, given as `field`, and what `loss_param` says; check the shapes."""
        self.check_batches(bottoms[:2])
        self.axis = self.class_axis = canonical_axis(self, axis, bottoms[0], field)
        self.mixes_rows = self.axis == 0
        self.settings = loss_settings(self, self.axis)
        self.ignore = self.settings.get("ignore")
        self.mean_over = mean_over(self.settings)
        check_label_count(self, bottoms[0], bottoms[1], self.axis)

    def explain(self, bottoms: Sequence[Tensor]) -> None:
        check_labels(self, bottoms[1], bottoms[0].shape[self.axis], self.settings.get("ignore"))


def check_label_count(layer: Layer, scores: Shape, labels: Shape, axis: int) -> None:
    """One label for each position: as many as the axes of `scores` other than the class axis hold together."""
    positions = count(scores, 0, axis) * count(scores, axis + 1)
    if count(labels) != positions:
        layer.fail(
            f"{count(labels)} labels ({format_shape(labels)}) for {positions} positions: scores {format_shape(scores)} "
            f"with classes on axis {axis}",
            "bottom[1]",
            "give one label for each position",
            "L302",
        )


def check_labels(layer: Layer, labels: Tensor, classes: int, ignore: int | None = None) -> None:
    """Fail where a label, truncated, is neither a class nor `ignore`, as in check_range."""
    index = labels.detach().long()
    check_range(layer, index if ignore is None else index * (index != ignore), classes)


def _may_look(index: Tensor) -> bool:
    import torch

    return index.device.type == "cpu" and not torch.compiler.is_compiling()


def check_range(
    layer: Layer,
    index: Tensor,
    size: int,
    field: str = "bottom[1]",
    what: str = "label",
    limit: str = "the scores have {} classes",
) -> None:
    """Fail where an index is outside 0 … size - 1; on a GPU and in a compiled graph nobody looks."""
    if not _may_look(index) or not index.numel():
        return
    smallest, largest = index.aminmax()
    low, high = _truncated(smallest), _truncated(largest)
    if not (low >= 0 and high < size):
        found = f"{what} {high if low >= 0 else low}, but {limit.format(size)} (0 to {size - 1})"
        layer.fail(found, field, _REMEDY if what == "label" else None, "L305")


def _truncated(value: Tensor) -> float:
    """As C++ makes an int of it; NaN and infinity as they are."""
    number = float(value)
    return math.trunc(number) if math.isfinite(number) else number


def mean_over(settings: dict[str, Any], default: str = VALID) -> str:
    """What a loss with these settings is the mean of."""
    mode = settings.get("normalization", default)
    if mode == VALID and "ignore" in settings:
        return LABELS
    return SAMPLES if isinstance(mode, str) and mode != "none" else SUM


# -- settings ----------------------------------------------------------------------------------------------------------

_MODES: dict[int, str] = {0: "full", 1: VALID, 2: BATCH_SIZE, 3: "none"}


def loss_settings(layer: Layer, axis: int = 1, default: str = VALID) -> dict[str, Any]:
    """What `loss_param` and the class axis say, as arguments of a loss function; what it takes anyway is left out."""
    options = layer.param.loss_param
    settings: dict[str, Any] = {} if axis == 1 else {"dim": axis}
    if options.HasField("ignore_label"):
        settings["ignore"] = int(options.ignore_label)
    mode = normalization(layer, default)
    return settings if mode == default else settings | {"normalization": mode}


def normalization(layer: Layer, default: str = VALID) -> str | float:
    """The mode, or Intel's PRE_FIXED divisor; `normalize`, the older field, only counts where `normalization` is
    absent."""
    options = layer.param.loss_param
    if options.label_smoothing:
        found = "label_smoothing is of NVIDIA's and Intel's forks of Caffe, and not available"
        layer.fail(found, "loss_param.label_smoothing", "take it out", "L351")
    if options.HasField("normalization"):
        return _MODES.get(options.normalization, float(options.pre_fixed_normalizer))
    if options.HasField("normalize"):
        return VALID if options.normalize else BATCH_SIZE
    return default
