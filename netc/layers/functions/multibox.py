"""The loss of SSD: default boxes are matched to objects; those matched learn place and class, the hardest of the others
learn that they are background. Matching and mining have no gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from netc.layers.functions.boxes import decoded_boxes, encoded_boxes, overlaps
from netc.layers.functions.losses import divisor, sample_count, smooth_l1


def multibox_loss(
    offsets: Tensor,
    scores: Tensor,
    priors: Tensor,
    objects: Tensor,
    *,
    classes: int,
    background: int = 0,
    code: str = "corner",
    match: str = "per_prediction",
    overlap_threshold: float = 0.5,
    match_priors: bool = True,
    inside_only: bool = False,
    use_difficult: bool = True,
    agnostic: bool = False,
    mining: str = "max_negative",
    neg_pos_ratio: float = 3.0,
    neg_overlap: float = 0.5,
    loc_loss: str = "smooth_l1",
    conf_loss: str = "softmax",
    loc_weight: float = 1.0,
    divided: bool = False,
    normalization: str | float = "valid",
) -> Tensor:
    """(loc_weight · Σ place + Σ class) / M of offsets (N, boxes · 4), scores (N, boxes · classes), default boxes (1, 2,
    boxes · 4) and objects (…, 8), which are rows (image, class, instance, box, difficult).

    `inside_only`: boxes that reach beyond the image learn nothing. `agnostic`: every object is of class background + 1.
    `divided`: see place_loss.
    """
    moves, chances = offsets.reshape(len(offsets), -1, 4), scores.reshape(len(offsets), -1, classes)
    boxes, variances = priors.detach().reshape(2, -1, 4)
    place, kind, empty = offsets[:0].sum(), scores[:0].sum(), scores[:0].sum()  # 0, with a gradient
    matched = 0
    for n, things in enumerate(objects_by_image(objects, len(offsets), use_difficult)):
        labels = torch.full((len(boxes),), background, device=boxes.device)
        if not len(things):
            empty = empty + class_losses(chances[n], labels, conf_loss).sum() if mining == "none" else empty
            continue
        start = boxes
        if not match_priors:
            start = decoded_boxes(boxes, None if divided else variances, moves[n].detach(), code)
        threshold = overlap_threshold if match == "per_prediction" else None
        thing_of, overlap = matched_objects(start, things[:, 3:7], threshold, inside_only)
        mine = (thing_of >= 0).nonzero()[:, 0]
        own, spread = things[thing_of[mine]], variances[mine]
        target = encoded_boxes(boxes[mine], spread, own[:, 3:7], code)
        place = place + place_loss(moves[n][mine], target, spread if divided else None, loc_loss)
        labels[mine] = background + 1 if agnostic else own[:, 1].long()
        losses = class_losses(chances[n], labels, conf_loss)
        if mining == "none":
            kind = kind + losses.sum()
        else:
            free = ((thing_of == -1) & (overlap < neg_overlap)).nonzero()[:, 0]
            hard = hardest_boxes(losses.detach(), free, int(len(mine) * neg_pos_ratio))
            kind = kind + (losses[mine].sum() + losses[hard].sum())
        matched += len(mine)
    positions = matched if normalization == "valid" else len(offsets) * len(boxes)
    return (loc_weight * place + (kind + empty)) / divisor(normalization, positions, sample_count(offsets))


def objects_by_image(objects: Tensor, images: int, use_difficult: bool) -> list[Tensor]:
    """The rows of each image; those of image -1 are none."""
    rows = objects.detach().reshape(-1, 8)
    rows = rows if use_difficult else rows[rows[:, 7] == 0]
    numbers = rows[:, 0].long()
    return [rows[numbers == n] for n in range(images)]


@torch.no_grad()
def matched_objects(boxes: Tensor, things: Tensor, threshold: float | None, inside_only: bool) -> tuple[Tensor, Tensor]:
    """For each box: the object that it is matched to (-1: none, -2: not looked at), and its largest overlap.

    Each object gets the box that overlaps it most, the best pair first; with a threshold each box left over gets the
    object that it overlaps most, if by so much.
    """
    pairs = overlaps(boxes, things)
    pairs = torch.where(pairs > 1e-6, pairs, 0)
    outside = ((boxes < 0) | (boxes > 1)).any(1) if inside_only else None
    if outside is not None:
        pairs = pairs.masked_fill(outside[:, None], 0)
    match = torch.full((len(boxes),), -1, device=boxes.device)
    free = pairs.clone()
    for _ in range(len(things)):
        box, thing = divmod(int(free.argmax()), len(things))
        if free[box, thing] <= 0:
            break
        match[box] = thing
        free[box], free[:, thing] = 0, 0
    overlap, best = pairs.max(1)
    if threshold is not None:
        match = torch.where((match < 0) & (overlap >= threshold) & (overlap > 0), best, match)
    return (match if outside is None else match.masked_fill(outside, -2)), overlap


def hardest_boxes(losses: Tensor, free: Tensor, most: int) -> Tensor:
    """Of the boxes `free`, the `most` with the highest losses."""
    return free[losses[free].argsort(descending=True, stable=True)[:most]]


def place_loss(offsets: Tensor, target: Tensor, variances: Tensor | None, kind: str) -> Tensor:
    """Σ of the distance of offsets and target. With `variances` the offsets are divided by them, as the target is; the
    gradient is that of the divided offset, handed on as it is."""
    if variances is not None:
        offsets = offsets + (offsets / variances - offsets).detach()
    difference = offsets - target
    return difference.square().sum() / 2 if kind == "l2" else smooth_l1(difference, 1.0).sum()


def class_losses(scores: Tensor, labels: Tensor, kind: str) -> Tensor:
    """(boxes, classes), (boxes) → the loss of class of each box."""
    if kind == "softmax":
        return F.cross_entropy(scores, labels, reduction="none")
    target = F.one_hot(labels, scores.shape[-1]).to(scores.dtype)
    return F.binary_cross_entropy_with_logits(scores, target, reduction="none").sum(-1)
