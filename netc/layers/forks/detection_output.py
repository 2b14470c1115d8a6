from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, between, count, format_shape, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor

FOUND = (1, 1, 1, 7)


@layer("DetectionOutput")
class DetectionOutput(Layer):
    """Boxes with class and score from the predictions of SSD: decoded, thinned out class by class, the best kept.

    Of each class but the background: the boxes with a score above confidence_threshold, at most nms_param.top_k of the
    highest scores, of which non-maximum suppression drops those that overlap a better one by more than
    nms_param.nms_threshold (nms_param.eta below 1: a threshold that falls). Then of each image the keep_top_k best.
    Bottoms: offsets (N, boxes · 4), scores (N, boxes · num_classes), default boxes (1, 2, boxes · 4) of PriorBox; a
    fourth, the pictures to draw on, is not looked at.
    Fields: `num_classes` (required), `share_location` (true; else boxes · num_classes · 4 offsets),
    `background_label_id` (0; -1 for none), `nms_param`, `code_type` (CORNER, CENTER_SIZE, CORNER_SIZE),
    `variance_encoded_in_target` (false: offsets are multiplied by the variances), `keep_top_k` (-1: all),
    `confidence_threshold`. Files and pictures (`save_output_param`, `visualize`, `save_file`) are not made.
    Shapes: → (1, 1, K, 7), K boxes of (image, class, score, xmin, ymin, xmax, ymax) by image, then class, then falling
    score; K is known only when it runs, and 1 until then. Nothing found: a row (image, -1, …) for each image.
    Errors: numbers of boxes that do not fit. No gradient.
    Source: SSD (Liu et al., 2016), section 2; detection_output_layer.cpp of weiliu89/caffe.
    """

    fork = "SSD (weiliu89/caffe)"
    bottoms = between(3, 4)
    in_place = False
    no_gradient = None
    mixes_rows = True
    param_field = "detection_output_param"
    kind = "measure"
    settings: dict[str, Any]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        classes, nms = self.options.num_classes, self.options.nms_param
        if classes < 1:
            self.fail("needs num_classes", "detection_output_param", "add `num_classes: 21`")
        if nms.nms_threshold < 0:
            self.fail("nms_threshold is below 0", "detection_output_param.nms_param.nms_threshold")
        if not 0 < nms.eta <= 1:
            self.fail(f"eta {nms.eta:g} is not in (0, 1]", "detection_output_param.nms_param.eta")
        check_predictions(self, bottoms, classes, 1 if self.options.share_location else classes)
        self.settings = self._settings()
        return [FOUND]

    def _settings(self) -> dict[str, Any]:
        o, nms = self.options, self.options.nms_param
        settings = {"classes": o.num_classes, "nms_threshold": nms.nms_threshold}
        if nms.eta != 1:
            settings["eta"] = nms.eta
        if nms.HasField("top_k") and nms.top_k > -1:
            settings["most_before"] = nms.top_k
        if o.HasField("confidence_threshold"):
            settings["least_score"] = o.confidence_threshold
        return settings | self.changed(
            most="keep_top_k",
            background="background_label_id",
            code="code_type",
            shared="share_location",
            plain="variance_encoded_in_target",
        )

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.detection import detected_boxes

        return [detected_boxes(*bottoms[:3], **self.settings)]

    has_operators = True

    def operators(self, op: Any, bottoms: Sequence[Any]) -> Sequence[Any]:
        from netc.layers.operators.boxes import detected_boxes

        if self.options.nms_param.eta != 1:
            field = "detection_output_param.nms_param.eta"
            self.fail("NonMaxSuppression has no eta: its threshold does not fall", field, "set eta to 1", "W773")
        return [detected_boxes(op, *bottoms[:3], **self.settings)]

    def traced_shapes(self, bottoms: Sequence[Shape], unknown: Callable[[], Any]) -> Sequence[Shape]:
        return [(1, 1, unknown(), 7)]

    def emit(self, site: Site) -> Code:
        return Code(call("detected_boxes", *site.bottoms[:3], **self.settings))


def check_predictions(layer: Layer, bottoms: Sequence[Shape], classes: int, location_classes: int) -> None:
    """Offsets, scores and default boxes speak of as many boxes."""
    offsets, scores, priors = bottoms[:3]
    if len(priors) < 3 or priors[1] != 2 or count(priors, 2) % 4:
        found = f"needs default boxes (1, 2, boxes · 4), found {format_shape(priors)}"
        layer.fail(found, "bottom[2]", "they come from PriorBox layers", "L302")
    if offsets[:1] != scores[:1]:
        listed = f"{format_shape(offsets)} and {format_shape(scores)}"
        layer.fail(f"its bottoms differ in batch size: {listed}", "bottom[1]", code="L302")
    boxes = count(priors, 2) // 4
    for place, shape, each in ((0, offsets, 4 * location_classes), (1, scores, classes)):
        if count(shape, 1) != boxes * each:
            found = f"{count(shape, 1)} numbers an image for {boxes} default boxes: needs {boxes} · {each}"
            layer.fail(found, f"bottom[{place}]", "num_classes, or the layer above, does not fit the boxes", "L302")
