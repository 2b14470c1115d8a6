"""Caffe's losses: predictions and targets of a batch → a scalar.

`dim` is the axis of the classes; labels are numbers of classes, one for each position, in any shape that holds as many.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from netc.layers.functions.gradients import elementwise, through

# -- what a sum is divided by: the only place that knows how large the batch is ----------------------------------------


def sample_count(x: Tensor) -> int:
    """The number of samples that a loss is averaged over."""
    return x.shape[0]


def divisor(normalization: str | float, positions: int, batch: int, counted: Tensor | None = None) -> Tensor | float:
    """What the sum over positions is divided by, at least 1 (LossLayer::GetNormalizer): a number, or by its mode
    "full" all positions, "valid" those that are `counted` (None: all), "batch_size" the samples, "none" 1."""
    if not isinstance(normalization, str):
        return max(1.0, normalization)
    if normalization == "valid" and counted is not None:
        return counted.sum().clamp(min=1)
    return float(max(1, {"full": positions, "valid": positions, "batch_size": batch, "none": 1}[normalization]))


# -- classes -----------------------------------------------------------------------------------------------------------


def class_indices(
    labels: Tensor, scores: Tensor, dim: int, ignore: int | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """(labels as indices in the scores' shape with one class; which of them count; which are outside the classes). None
    stands for all that count, and for none outside. Labels are truncated; an ignored one becomes 0."""
    index = labels.detach().reshape(*scores.shape[:dim], 1, *scores.shape[dim + 1 :]).long()
    counted = None if ignore is None else index != ignore
    if counted is not None:
        index = index * counted
    if index.device.type == "cpu" and not torch.compiler.is_compiling():  # torch itself refuses such a label here
        return index, counted, None
    classes = scores.shape[dim]
    return index.clamp(0, classes - 1), counted, (index < 0) | (index >= classes)


def softmax_loss(
    scores: Tensor,
    labels: Tensor,
    dim: int = 1,
    ignore: int | None = None,
    normalization: str | float = "valid",
    weights: list[float] | None = None,
) -> Tensor:
    """-log softmax(scores)[label] over all positions (SoftmaxWithLoss). `weights`: one for each class."""
    terms, index, counted = softmax_terms(scores, labels, dim, ignore)
    if weights is not None:
        terms = terms * scores.new_tensor(weights)[index]
    return terms.sum() / divisor(normalization, terms.numel(), sample_count(scores), counted)


def softmax_loss_with_terms(
    scores: Tensor, labels: Tensor, dim: int = 1, ignore: int | None = None, normalization: str | float = "valid"
) -> tuple[Tensor, Tensor, Tensor]:
    """(softmax_loss, the probabilities, the loss of each position): only the first has a gradient."""
    terms, _, counted = softmax_terms(scores, labels, dim, ignore)
    loss = terms.sum() / divisor(normalization, terms.numel(), sample_count(scores), counted)
    return loss, scores.detach().softmax(dim), terms.detach().reshape(labels.shape)


def softmax_terms(scores: Tensor, labels: Tensor, dim: int, ignore: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """(the loss of each position, their classes, which of them count). A term is at most -log(FLT_MIN), its gradient is
    not cut; that of a label outside the classes is NaN."""
    index, counted, outside = class_indices(labels, scores, dim, ignore)
    terms = -scores.log_softmax(dim).gather(dim, index)
    terms = through(terms, terms.clamp(max=-math.log(2.0**-126)))
    if outside is not None:
        terms = terms.masked_fill(outside, math.nan)
    return (terms if counted is None else terms * counted), index, counted


def infogain_loss(
    scores: Tensor,
    labels: Tensor,
    matrix: Tensor,
    dim: int = 1,
    ignore: int | None = None,
    normalization: str | float = "valid",
) -> tuple[Tensor, Tensor]:
    """(-Σ_k matrix[label, k] · log softmax(scores)_k over all positions, the probabilities): only the first has a
    gradient. A probability counts as at least 1e-20; the gradient is not cut."""
    index, counted, outside = class_indices(labels, scores, dim, ignore)
    logs = scores.log_softmax(dim)
    rows = matrix.detach().reshape(scores.shape[dim], -1).index_select(0, index.flatten())
    rows = rows.reshape(*index.squeeze(dim).shape, -1).movedim(-1, dim)
    terms = -(rows * through(logs, logs.clamp(min=math.log(1e-20))))
    if outside is not None:
        terms = terms.masked_fill(outside, math.nan)
    if counted is not None:
        terms = terms * counted
    loss = terms.sum() / divisor(normalization, index.numel(), sample_count(scores), counted)
    return loss, logs.detach().exp()


def sigmoid_loss(
    scores: Tensor, targets: Tensor, ignore: int | None = None, normalization: str | float = "batch_size"
) -> Tensor:
    """-(t log σ(x) + (1 - t) log(1 - σ(x))) over all values (SigmoidCrossEntropyLoss); a target that is `ignore` when
    it is truncated does not count."""
    targets = targets.detach().reshape(scores.shape)
    terms = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
    counted = None if ignore is None else targets.trunc() != ignore
    if counted is not None:
        terms = terms * counted
    return terms.sum() / divisor(normalization, scores.numel(), sample_count(scores), counted)


def hinge_loss(scores: Tensor, labels: Tensor, norm: str = "l1") -> Tensor:
    """max(0, 1 - t x) or ("l2") its square for each class: t is 1 for the one of the label and -1 for the others."""
    scores = scores.flatten(1)
    index, _, outside = class_indices(labels.flatten()[: scores.shape[0]], scores, 1, None)  # of more labels the first
    margins = (1 + scores.new_ones(scores.shape).scatter(1, index, -1.0) * scores).relu()
    if outside is not None:
        margins = margins.masked_fill(outside, math.nan)
    return (margins if norm == "l1" else margins.square()).sum() / sample_count(scores)


def multinomial_logistic_loss(probabilities: Tensor, labels: Tensor) -> Tensor:
    """-log of the labelled class's probability, which is at least 1e-20."""
    probabilities = probabilities.flatten(1)
    index, _, outside = class_indices(labels, probabilities, 1, None)
    chosen = probabilities.gather(1, index)
    terms = -through(chosen, chosen.clamp(min=1e-20)).log()
    if outside is not None:
        terms = terms.masked_fill(outside, math.nan)
    return terms.sum() / sample_count(probabilities)


# -- distances ---------------------------------------------------------------------------------------------------------


def euclidean_loss(a: Tensor, b: Tensor) -> Tensor:
    """Half the square of the distance of a and b, for each sample."""
    return (a - b.reshape(a.shape)).square().sum() / (2 * sample_count(a))


def contrastive_loss(a: Tensor, b: Tensor, similar: Tensor, margin: float = 1.0, legacy: bool = False) -> Tensor:
    """Half of d² of a similar pair, d = |a - b|, and of max(margin - d, 0)² of another (legacy: max(margin - d², 0)).
    The gradient of d is Caffe's, 0.5 / (d + 1e-4) towards d², which is finite at 0."""
    squares = (a.flatten(1) - b.flatten(1)).square().sum(1)
    if legacy:
        apart = (margin - squares).relu()
    else:
        root = squares.detach().sqrt()
        apart = (margin - elementwise(squares, root, 0.5 / (root + 1e-4))).relu().square()
    return squares.where(similar.detach().flatten().long() != 0, apart).sum() / (2 * sample_count(a))


def l1_loss(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|, for each sample."""
    return (a - b.reshape(a.shape)).abs().sum() / sample_count(a)


def smooth_l1_loss(
    x: Tensor, target: Tensor, inside: Tensor | None = None, outside: Tensor | None = None, sigma: float = 1.0
) -> Tensor:
    """outside · smooth_l1(inside · (x - target)), for each sample."""
    terms = smooth_l1(weighted_difference(x, target, inside), sigma)
    if outside is not None:
        terms = terms * outside.detach().reshape(x.shape)
    return terms.sum() / sample_count(x)


def smooth_l1_loss_with_terms(
    x: Tensor, target: Tensor, inside: Tensor | None = None, normalization: str | float = "valid"
) -> tuple[Tensor, Tensor]:
    """(smooth_l1(inside · (x - target)) over all positions, the sum over the channels of each (N, 1, H, W)): only the
    first has a gradient."""
    terms = smooth_l1(weighted_difference(x, target, inside), 1.0)
    terms = terms if x.dim() > 1 else terms[:, None]
    positions = terms.numel() // terms.shape[1]
    each = terms.detach().sum(1, keepdim=True)
    loss = terms.sum() / divisor(normalization, positions, sample_count(x))
    return loss, each.reshape(x.shape[0], 1, *(*x.shape[2:4], 1, 1)[:2])


def weighted_difference(x: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """weight · (x - target) in the shape of x."""
    difference = x - target.reshape(x.shape)
    return difference if weight is None else difference * weight.detach().reshape(x.shape)


def smooth_l1(difference: Tensor, sigma: float) -> Tensor:
    """(sigma · d)² / 2 near zero, |d| - 1 / (2 sigma²) further out."""
    square, size = sigma * sigma, difference.abs()
    return torch.where(size < 1 / square, difference.square() * (square / 2), size - 0.5 / square)
