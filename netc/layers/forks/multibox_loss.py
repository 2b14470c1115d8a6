from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, exactly, format_shape, layer
from netc.layers.code import Code, Site, call
from netc.layers.forks.detection_output import check_predictions
from netc.layers.losses import VALID, normalization

if TYPE_CHECKING:
    from torch import Tensor

NONE, MAX_NEGATIVE = 0, 1


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
    mixes_rows = True
    in_place = False
    no_gradient = (2, 3)
    force_backward_skips = (2, 3)
    param_field = "multibox_loss_param"
    settings: dict[str, Any]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        o = self.options
        if o.num_classes < 1:
            self.fail("needs num_classes", "multibox_loss_param", "add `num_classes: 21`")
        mining = o.mining_type
        if o.HasField("do_neg_mining"):
            mining = MAX_NEGATIVE if o.do_neg_mining else NONE
        lacking = {
            "share_location": not o.share_location,
            "mining_type": mining > MAX_NEGATIVE,
            "bp_inside": o.bp_inside,
            "nms_param": o.HasField("nms_param") and o.nms_param.nms_threshold > 0 and mining != NONE,
        }
        for field, asked in lacking.items():
            if asked:
                found = f"this setting of {field} is not available"
                self.fail(found, f"multibox_loss_param.{field}", f"leave {field} out: SSD's default works", "L350")
        self.settings = self._settings(mining)
        check_predictions(self, bottoms, o.num_classes, 1)
        if not bottoms[3] or bottoms[3][-1] != 8:
            found = f"needs objects of 8 numbers, found {format_shape(bottoms[3])}"
            self.fail(found, "bottom[3]", "they come from AnnotatedData", "L302")
        return [()]

    def _settings(self, mining: int) -> dict[str, Any]:
        matching = self.changed(
            classes="num_classes",
            background="background_label_id",
            code="code_type",
            match="match_type",
            overlap_threshold="overlap_threshold",
            match_priors="use_prior_for_matching",
            inside_only="ignore_cross_boundary_bbox",
            use_difficult="use_difficult_gt",
            agnostic="map_object_to_agnostic",
        )
        losses = self.changed(
            neg_pos_ratio="neg_pos_ratio",
            neg_overlap="neg_overlap",
            loc_loss="loc_loss_type",
            conf_loss="conf_loss_type",
            loc_weight="loc_weight",
            divided="encode_variance_in_target",
        )
        mode = normalization(self)
        divisor = {} if mode == VALID else {"normalization": mode}
        return matching | ({} if mining else {"mining": "none"}) | losses | divisor

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.multibox import multibox_loss

        self._check_objects(bottoms[3].detach())
        return [multibox_loss(*bottoms, **self.settings)]

    def _check_objects(self, objects: Tensor) -> None:
        background, classes = self.options.background_label_id, self.options.num_classes
        for image, label, difficult in objects.reshape(-1, 8)[:, [0, 1, 7]].tolist():
            if image == -1 or (difficult and not self.options.use_difficult_gt):
                continue
            exists = -1 < label < classes  # NaN does not
            if not exists or int(label) == background:
                said = "the background" if exists else f"not one of {classes} classes"
                found = f"an object of class {label:g}, which is {said}"
                self.fail(found, "bottom[3]", "correct the labels or num_classes", "L352")

    def emit(self, site: Site) -> Code:
        return Code(call("multibox_loss", *site.bottoms, **self.settings))
