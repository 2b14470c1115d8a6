"""What the losses share: how a sum is normalised, what a label may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from netc.layers.base import Layer, Shape, count, exactly, format_shape

if TYPE_CHECKING:
    from torch import Tensor

_REMEDY = "correct the labels, num_output of the last layer, or ignore_label"
FULL, VALID, BATCH_SIZE, NONE, PRE_FIXED = 0, 1, 2, 3, 10100


class Loss(Layer):
    """A scalar loss of two bottoms with the same first dimension: predictions and targets."""

    bottoms = exactly(2)
    is_loss = True
    no_gradient: ClassVar[tuple[int, ...] | None] = (1,)
    force_backward_skips: ClassVar[tuple[int, ...]] = (1,)
    in_place = False

    def check_batches(self, bottoms: Sequence[Shape]) -> None:
        first = [shape[:1] for shape in bottoms]
        if len(set(first)) > 1 or not first[0]:
            listed = " and ".join(format_shape(shape) for shape in bottoms)
            self.fail(f"its bottoms differ in batch size: {listed}", "bottom", code="L302")


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


def class_indices(
    layer: Layer, labels: Tensor, like: Tensor, axis: int, ignore: int | None
) -> tuple[Tensor, Tensor | None]:
    """(labels as int64 in the shape of `like` with the class axis 1 long, positions that count or None for all).

    Labels are truncated to integers. An ignored one becomes 0. A label outside the classes is an error L305 on a CPU;
    on a GPU, where looking would stop the pipeline, it stays and the caller's `poisoned` makes the result NaN.
    """
    shape = (*like.shape[:axis], 1, *like.shape[axis + 1 :])
    index = labels.detach().reshape(shape).long()
    counted = None if ignore is None else index != ignore
    if counted is not None:
        index = index * counted
    check_range(layer, index, like.shape[axis])
    return index, counted


def poisoned(index: Tensor, classes: int) -> tuple[Tensor, Tensor | None]:
    """(index clamped to the classes, where it was outside), or the index itself where it has been checked already."""
    if _may_look(index):
        return index, None
    return index.clamp(0, classes - 1), (index < 0) | (index >= classes)


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
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= size:
        found = f"{what} {low if low < 0 else high}, but {limit.format(size)} (0 to {size - 1})"
        layer.fail(found, field, _REMEDY if what == "label" else None, "L305")


def normalizer(mode: int, positions: int, batch: int, counted: Tensor | None, fixed: float = 1.0) -> Tensor | float:
    """What the summed loss is divided by: at least 1 (LossLayer::GetNormalizer). `fixed` is Intel's PRE_FIXED."""
    if mode == VALID and counted is not None:
        return counted.sum().clamp(min=1)
    divisors = {FULL: positions, VALID: positions, BATCH_SIZE: batch, NONE: 1, PRE_FIXED: fixed}
    return float(max(1, divisors[mode]))


def normalization(layer: Layer, default: int) -> int:
    """The mode; `normalize`, the older field, only counts where `normalization` is absent."""
    options = layer.param.loss_param
    if options.label_smoothing:
        found = "label_smoothing is of NVIDIA's and Intel's forks of Caffe, and not available"
        layer.fail(found, "loss_param.label_smoothing", "take it out", "L351")
    if options.HasField("normalization") or not options.HasField("normalize"):
        return int(options.normalization) if options.HasField("normalization") else default
    return VALID if options.normalize else BATCH_SIZE


def ignored_label(layer: Layer) -> int | None:
    options = layer.param.loss_param
    return int(options.ignore_label) if options.HasField("ignore_label") else None
