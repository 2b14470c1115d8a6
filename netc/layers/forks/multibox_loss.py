from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, exactly, format_shape, layer
from netc.layers.forks.detection_output import check_predictions
from netc.layers.losses import VALID, normalization, normalizer

if TYPE_CHECKING:
    from torch import Tensor

L2, LOGISTIC, PER_PREDICTION = 0, 1, 1
NONE, MAX_NEGATIVE = 0, 1
TINY = 1e-6
"""An overlap of less counts as none."""


@layer("MultiBoxLoss")
class MultiBoxLoss(Layer):
    """The loss of SSD: default boxes are matched to objects; those matched learn place and class, the hardest of the
    others learn that they are background.

    Each object gets the box that overlaps it most, the best pair first; with `match_type: PER_PREDICTION` each box left
    over gets the object that it overlaps most, if by overlap_threshold. Of the boxes without an object and with no
    overlap of neg_overlap or more, the neg_pos_ratio · (matched boxes of the image) with the highest loss of class are
    learned as background (`mining_type: MAX_NEGATIVE`); with NONE all are. loss = (loc_weight · Σ place + Σ class) / M,
    place a smooth L1 or L2 distance to the encoded object, class a softmax or logistic loss; M by
    `loss_param.normalization`: VALID (default) the matched boxes, FULL all, BATCH_SIZE N, NONE 1; at least 1.
    Bottoms: offsets (N, boxes · 4), scores (N, boxes · num_classes), default boxes (1, 2, boxes · 4), objects (1, 1, G,
    8) as rows of (image, class, instance, xmin, ymin, xmax, ymax, difficult); those of image -1 are skipped.
    Shapes: these four → scalar. An image without objects adds nothing.
    Errors: numbers of boxes that do not fit; L350 for `share_location: false`, `mining_type: HARD_EXAMPLE`,
    `bp_inside: true` and mining with `nms_param`, which netc does not have; L352 an object whose class is the
    background or does not exist.
    Source: SSD (Liu et al., 2016), section 2.2; multibox_loss_layer.cpp of weiliu89/caffe.
    """

    fork = "SSD (weiliu89/caffe)"
    bottoms = exactly(4)
    is_loss = True
    in_place = False
    no_gradient = (2, 3)
    force_backward_skips = (2, 3)
    param_field = "multibox_loss_param"
    mode: int
    mining: int

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        o = self.options
        if o.num_classes < 1:
            self.fail("needs num_classes", "multibox_loss_param", "add `num_classes: 21`")
        self.mining = o.mining_type
        if o.HasField("do_neg_mining"):
            self.mining = MAX_NEGATIVE if o.do_neg_mining else NONE
        lacking = {
            "share_location": not o.share_location,
            "mining_type": self.mining > MAX_NEGATIVE,
            "bp_inside": o.bp_inside,
            "nms_param": o.HasField("nms_param") and o.nms_param.nms_threshold > 0 and self.mining != NONE,
        }
        for field, asked in lacking.items():
            if asked:
                found = f"this setting of {field} is not available"
                self.fail(found, f"multibox_loss_param.{field}", f"leave {field} out: SSD's default works", "L350")
        self.mode = normalization(self, VALID)
        check_predictions(self, bottoms, o.num_classes, 1)
        if not bottoms[3] or bottoms[3][-1] != 8:
            found = f"needs objects of 8 numbers, found {format_shape(bottoms[3])}"
            self.fail(found, "bottom[3]", "they come from AnnotatedData", "L302")
        return [()]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        offsets, scores, priors, objects = bottoms
        images = len(offsets)
        boxes = offsets.reshape(images, -1, 4)
        classes = scores.reshape(images, -1, self.options.num_classes)
        place, kind, matched = offsets[:0].sum(), scores[:0].sum(), 0  # nought, with a gradient
        for n, gt in self._objects(objects, images).items():
            chosen = self._match(boxes[n], priors, gt[:, 3:7])
            place = place + self._place_loss(boxes[n], priors, gt, chosen.match)
            kind = kind + self._class_loss(classes[n], gt, chosen)
            matched += int((chosen.match >= 0).sum())
        if self.mining == NONE:
            kind = kind + self._background_of_empty(classes, objects)
        divisor = normalizer(self.mode, images * boxes.shape[1], images, None)
        if self.mode == VALID:
            divisor = max(1, matched)
        return [(self.options.loc_weight * place + kind) / divisor]

    # -- objects -------------------------------------------------------------------------------------------------------

    def _objects(self, objects: Tensor, images: int) -> dict[int, Tensor]:
        """Image → its rows of `objects` that are learned."""
        rows = objects.detach().reshape(-1, 8)
        rows = rows[rows[:, 0] != -1]
        if not self.options.use_difficult_gt:
            rows = rows[rows[:, 7] == 0]
        self._check_objects(rows)
        numbers = rows[:, 0].long()
        found = {n: rows[numbers == n] for n in range(images)}
        return {n: table for n, table in found.items() if len(table)}

    def _check_objects(self, rows: Tensor) -> None:
        background, classes = self.options.background_label_id, self.options.num_classes
        for label in set(rows[:, 1].long().tolist()):
            if label == background or not 0 <= label < classes:
                found = f"an object of class {label}"
                said = "the background" if label == background else f"not one of {classes} classes"
                self.fail(f"{found}, which is {said}", "bottom[3]", "correct the labels or num_classes", "L352")

    def _class(self, gt: Tensor) -> Tensor:
        """The class that each object is learned as."""
        labels = gt[:, 1].long()
        return labels * 0 + self.options.background_label_id + 1 if self.options.map_object_to_agnostic else labels

    # -- matching ------------------------------------------------------------------------------------------------------

    def _match(self, offsets: Tensor, priors: Tensor, gt: Tensor) -> Matches:
        import torch

        from netc.layers.forks._boxes import decode, overlaps

        with torch.no_grad():
            boxes, variances = priors.detach().reshape(2, -1, 4)
            if not self.options.use_prior_for_matching:
                one = torch.ones_like(variances) if self.options.encode_variance_in_target else variances
                boxes = decode(boxes, one, offsets.detach(), self.options.code_type)
            pairs = overlaps(boxes, gt)
            pairs = torch.where(pairs > TINY, pairs, 0)
            barred = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
            if self.options.ignore_cross_boundary_bbox:
                barred = ((boxes < 0) | (boxes > 1)).any(1)
                pairs = pairs.masked_fill(barred[:, None], 0)
            return Matches(self._assign(pairs).masked_fill(barred, -2), pairs.max(1).values)

    def _assign(self, pairs: Tensor) -> Tensor:
        """The object of each box, -1 for none: (boxes, objects) overlaps → (boxes)."""
        import torch

        match = torch.full((len(pairs),), -1, dtype=torch.long, device=pairs.device)
        free = pairs.clone()
        for _ in range(pairs.shape[1]):
            best = int(free.argmax())
            box, thing = divmod(best, pairs.shape[1])
            if free[box, thing] <= 0:
                break
            match[box] = thing
            free[box], free[:, thing] = 0, 0
        if self.options.match_type == PER_PREDICTION:
            value, thing_of = pairs.max(1)
            enough = (match < 0) & (value >= self.options.overlap_threshold) & (value > 0)
            match = torch.where(enough, thing_of, match)
        return match

    # -- losses --------------------------------------------------------------------------------------------------------

    def _place_loss(self, offsets: Tensor, priors: Tensor, gt: Tensor, match: Tensor) -> Tensor:
        from netc.layers.forks._boxes import encode
        from netc.layers.forks.smooth_l1_loss import smooth_l1

        mine = (match >= 0).nonzero()[:, 0]
        boxes, variances = priors.detach().reshape(2, -1, 4)[:, mine]
        target = encode(boxes, variances, gt[match[mine], 3:7], self.options.code_type)
        predicted = offsets[mine]
        if self.options.encode_variance_in_target:  # the fork divides both sides, and leaves it out of the gradient
            predicted = predicted + (predicted / variances - predicted).detach()
        difference = predicted - target
        square = self.options.loc_loss_type == L2
        return difference.square().sum() / 2 if square else smooth_l1(difference, 1.0).sum()

    def _class_loss(self, scores: Tensor, gt: Tensor, chosen: Matches) -> Tensor:
        import torch

        labels = torch.full_like(chosen.match, self.options.background_label_id)
        mine = chosen.match >= 0
        labels = torch.where(mine, self._class(gt)[chosen.match.clamp(min=0)], labels)
        losses = self._losses(scores, labels)
        if self.mining == NONE:
            return losses.sum()
        return losses[mine].sum() + losses[self._hardest(losses.detach(), chosen, int(mine.sum()))].sum()

    def _hardest(self, losses: Tensor, chosen: Matches, positive: int) -> Tensor:
        """The places of the boxes that are learned as background."""
        candidates = ((chosen.match == -1) & (chosen.overlap < self.options.neg_overlap)).nonzero()[:, 0]
        limit = min(int(positive * self.options.neg_pos_ratio), len(candidates))
        order = losses[candidates].argsort(descending=True, stable=True)
        hardest: Tensor = candidates[order[:limit]]
        return hardest

    def _losses(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss of class of each box."""
        import torch.nn.functional as F

        if self.options.conf_loss_type != LOGISTIC:
            return F.cross_entropy(scores, labels, reduction="none")
        target = F.one_hot(labels, scores.shape[-1]).to(scores.dtype)
        return F.binary_cross_entropy_with_logits(scores, target, reduction="none").sum(-1)

    def _background_of_empty(self, classes: Tensor, objects: Tensor) -> Tensor:
        """Without mining, images without objects are background too."""
        import torch

        total = classes[:0].sum()
        for n in set(range(len(classes))) - set(self._objects(objects, len(classes))):
            labels = torch.full(
                classes.shape[1:2], self.options.background_label_id, dtype=torch.long, device=classes.device
            )
            total = total + self._losses(classes[n], labels).sum()
        return total


class Matches:
    """For each default box: the object it is matched to (-1: none, -2: not looked at), and its largest overlap."""

    def __init__(self, match: Tensor, overlap: Tensor) -> None:
        self.match, self.overlap = match, overlap
