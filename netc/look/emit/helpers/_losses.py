"""Caffe's losses and scores. Never imported by netc: its text goes into emitted files."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Through(torch.autograd.Function):
    """The value `y`, with the gradient passed to `x` unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def through(x: Tensor, y: Tensor) -> Tensor:
    """`y` as a function of `x` whose derivative is 1."""
    value: Tensor = Through.apply(x, y.detach())  # type: ignore[no-untyped-call]
    return value


def normalizer(mode: str | float, positions: int, batch: int, counted: Tensor | None) -> Tensor | float:
    """What a summed loss is divided by, at least 1: a number, or by its mode."""
    if not isinstance(mode, str):
        return max(1.0, mode)
    if mode == "valid" and counted is not None:
        return counted.sum().clamp(min=1)
    return max(1, {"full": positions, "valid": positions, "batch_size": batch, "none": 1}[mode])


def class_indices(labels: Tensor, scores: Tensor, dim: int, ignore: int | None) -> tuple[Tensor, Tensor]:
    """(labels as indices in the scores' shape with one class, which of them count)."""
    index = labels.detach().reshape(*scores.shape[:dim], 1, *scores.shape[dim + 1 :]).long()
    counted = torch.ones_like(index, dtype=torch.bool) if ignore is None else index != ignore
    return index * counted, counted


def softmax_loss(
    scores: Tensor,
    labels: Tensor,
    dim: int = 1,
    ignore: int | None = None,
    normalization: str | float = "valid",
    weights: list[float] | None = None,
) -> Tensor:
    """Caffe's SoftmaxWithLoss: each term is at most -log(FLT_MIN), its gradient is not cut. `weights`: one a class."""
    index, counted = class_indices(labels, scores, dim, ignore)
    terms = -scores.log_softmax(dim).gather(dim, index)
    terms = through(terms, terms.clamp(max=-math.log(2.0**-126))) * counted
    if weights is not None:
        terms = terms * scores.new_tensor(weights)[index]
    return terms.sum() / normalizer(normalization, terms.numel(), scores.shape[0], counted)


def sigmoid_loss(
    scores: Tensor, targets: Tensor, ignore: int | None = None, normalization: str | float = "batch_size"
) -> Tensor:
    """Caffe's SigmoidCrossEntropyLoss; a target that is `ignore` when truncated does not count."""
    targets = targets.detach().reshape(scores.shape)
    terms = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
    counted = None if ignore is None else targets.trunc() != ignore
    terms = terms if counted is None else terms * counted
    return terms.sum() / normalizer(normalization, scores.numel(), scores.shape[0], counted)


def euclidean_loss(a: Tensor, b: Tensor) -> Tensor:
    """Half the mean squared distance of a sample."""
    return (a - b.reshape(a.shape)).square().sum() / (2 * a.shape[0])


def hinge_loss(scores: Tensor, labels: Tensor, squared: bool = False) -> Tensor:
    """One against all: the mean over samples of max(0, 1 - t x), t = 1 for the labelled class and -1 for the others."""
    scores = scores.flatten(1)
    signs = scores.new_ones(scores.shape).scatter(1, labels.detach().flatten()[: scores.shape[0], None].long(), -1.0)
    margins = (1 + signs * scores).relu()
    return (margins.square() if squared else margins).sum() / scores.shape[0]


def multinomial_logistic_loss(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The mean of -log p of the labelled class, p being at least 1e-20."""
    chosen = probabilities.flatten(1).gather(1, labels.detach().reshape(-1, 1).long())
    return -through(chosen, chosen.clamp(min=1e-20)).log().sum() / probabilities.shape[0]


def contrastive_loss(a: Tensor, b: Tensor, similar: Tensor, margin: float = 1.0, legacy: bool = False) -> Tensor:
    """Half the mean of d² of similar pairs and max(margin - d, 0)² of others (legacy: max(margin - d², 0))."""
    squares = (a - b).flatten(1).square().sum(1)
    if legacy:
        apart = (margin - squares).clamp(min=0)
    else:
        distance: Tensor = PairDistance.apply(squares)  # type: ignore[no-untyped-call]
        apart = (margin - distance).clamp(min=0).square()
    return squares.where(similar.detach().flatten().long() != 0, apart).sum() / (2 * a.shape[0])


class PairDistance(torch.autograd.Function):
    """The root of a squared distance, with Caffe's gradient 0.5 / (d + 1e-4), which is finite at 0."""

    @staticmethod
    def forward(ctx: Any, squares: Tensor) -> Tensor:
        root = squares.sqrt()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        root: Tensor = ctx.saved_tensors[0]
        return grad * (0.5 / (root + 1e-4))


def infogain_loss(
    scores: Tensor,
    labels: Tensor,
    matrix: Tensor,
    dim: int = 1,
    ignore: int | None = None,
    normalization: str | float = "valid",
) -> Tensor:
    """-Σ H[label, k] · log softmax(x)_k; a probability counts as at least 1e-20, its gradient is not cut."""
    classes = scores.shape[dim]
    index, counted = class_indices(labels, scores, dim, ignore)
    logs = scores.log_softmax(dim)
    rows: Tensor = matrix.detach().reshape(classes, classes)[index.squeeze(dim)].movedim(-1, dim)
    terms = -rows * through(logs, logs.clamp(min=math.log(1e-20))) * counted
    return terms.sum() / normalizer(normalization, index.numel(), scores.shape[0], counted)


@torch.no_grad()
def accuracy(scores: Tensor, labels: Tensor, top_k: int = 1, dim: int = 1, ignore: int | None = None) -> Tensor:
    """The share of positions whose class is among the top_k scores; a tie counts against it, and so does NaN."""
    right, counted, _ = hits(scores, labels, top_k, dim, ignore)
    return right.sum().to(scores.dtype) / counted.sum().clamp(min=1)


@torch.no_grad()
def accuracy_by_class(
    scores: Tensor, labels: Tensor, top_k: int = 1, dim: int = 1, ignore: int | None = None
) -> Tensor:
    """The same for each class, 0 for one that does not occur."""
    right, counted, index = hits(scores, labels, top_k, dim, ignore)
    zeros = scores.new_zeros(scores.shape[dim])
    found = zeros.scatter_add(0, index.flatten(), right.flatten().to(scores.dtype))
    return found / zeros.scatter_add(0, index.flatten(), counted.flatten().to(scores.dtype)).clamp(min=1)


def hits(scores: Tensor, labels: Tensor, top_k: int, dim: int, ignore: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """(which positions are right, which count, their classes)."""
    index, counted = class_indices(labels, scores, dim, ignore)
    not_below = ~(scores < scores.gather(dim, index))
    return (not_below.sum(dim, keepdim=True) <= top_k) & counted, counted, index
