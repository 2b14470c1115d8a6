from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, at_least, between, format_shape, layer
from netc.layers.code import Code, Site, call
from netc.layers.forks.detection_output import FOUND

if TYPE_CHECKING:
    from torch import Tensor


class YoloOutput(Layer):
    """Boxes from feature maps whose channels are (x, y, w, h, object, classes …) for each anchor."""

    in_place = False
    no_gradient = None
    mixes_rows = True
    anchors: list[tuple[float, float]]
    settings: dict[str, Any]

    def check_maps(self, bottoms: Sequence[Shape]) -> None:
        o, field = self.options, self.param_field or ""
        wide = o.num_box * (5 + o.num_classes)
        for place, shape in enumerate(bottoms):
            if len(shape) != 4 or shape[1] != wide:
                found = f"needs maps of num_box · (5 + num_classes) = {wide} channels, found {format_shape(shape)}"
                self.fail(found, f"bottom[{place}]", code="L302")
            if shape[2] != shape[3] or shape[0] != bottoms[0][0]:
                found = f"needs square maps of one batch, found {format_shape(shape)}"
                self.fail(found, f"bottom[{place}]", code="L302")
        if len(o.biases) % 2 or not o.biases:
            self.fail(f"{len(o.biases)} biases", f"{field}.biases", "give width and height of each anchor")
        self.anchors = list(zip(o.biases[::2], o.biases[1::2], strict=True))

    def thresholds(self) -> dict[str, Any]:
        return {"least_score": self.options.confidence_threshold, "nms_threshold": self.options.nms_threshold}


@layer("YoloDetectionOutput")
class YoloDetectionOutput(YoloOutput):
    """Boxes with class and score from feature maps of YOLO v2.

    At column i of side S, anchor (p_w, p_h): centre (i + σ(x)) / S, width p_w · exp(w) / S; the score is σ(object) ·
    the largest softmax of the classes. Boxes of a score of confidence_threshold or more are kept; those that overlap a
    better one, of whatever class, by nms_threshold or more go. Fields: `num_classes` (20), `num_box` (5),
    `confidence_threshold` (0.01), `nms_threshold` (0.45), `biases` (the anchors, in positions).
    Shapes: one or two (N, num_box · (5 + num_classes), S, S) → (1, 1, K, 7), rows of (image, class + 1, score, xmin,
    ymin, xmax, ymax); K is known only when it runs. Errors: channels, anchors. No gradient. The fork writes image 0 in
    every row and thins out over the whole batch; netc goes image by image.
    Source: YOLO9000 (Redmon, Farhadi, 2016), section 2; yolo_detection_output_layer.cpp of eric612/MobileNet-YOLO.
    """

    fork = "MobileNet-YOLO (eric612)"
    bottoms = between(1, 2)
    param_field = "yolo_detection_output_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_maps(bottoms)
        if len(self.anchors) < self.options.num_box:
            found = f"{len(self.anchors)} anchors for num_box {self.options.num_box}"
            self.fail(found, "yolo_detection_output_param.biases")
        self.settings = {"anchors": self.anchors[: self.options.num_box], **self.thresholds()}
        return [FOUND]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.detection import yolo_detections

        return [yolo_detections(list(bottoms), **self.settings)]

    def emit(self, site: Site) -> Code:
        return Code(call("yolo_detections", f"[{', '.join(site.bottoms)}]", **self.settings))


@layer("Yolov3DetectionOutput")
class Yolov3DetectionOutput(YoloOutput):
    """Boxes with class and score from the feature maps of YOLO v3.

    As YoloDetectionOutput, but each class has a score of its own, σ(object) · σ(class), and a box a row for each class
    whose score is above confidence_threshold; anchors are in pixels, and each map has its own (`mask`).
    Fields: `num_classes` (20), `num_box` (3), `confidence_threshold` (0.01), `nms_threshold` (0.45), `biases` (the
    anchors), `mask` (the anchors of the maps, one map after the other), `anchors_scale` (pixels a position, for each
    map), `mask_group_num` (2, the number of maps).
    Shapes: mask_group_num × (N, num_box · (5 + num_classes), S, S) → (1, 1, K, 7), rows of (image, class + 1, score,
    xmin, ymin, xmax, ymax); K is known only when it runs. Errors: channels, anchors, numbers of maps. No gradient.
    Source: YOLOv3 (Redmon, Farhadi, 2018), section 2; yolov3_detection_output_layer.cpp of eric612/MobileNet-YOLO.
    """

    fork = "MobileNet-YOLO (eric612)"
    bottoms = at_least(1)
    param_field = "yolov3_detection_output_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.check_maps(bottoms)
        o, maps = self.options, len(bottoms)
        if o.mask_group_num != maps:
            found = f"mask_group_num {o.mask_group_num} for {maps} bottoms"
            self.fail(found, "yolov3_detection_output_param.mask_group_num", f"set it to {maps}")
        if len(o.anchors_scale) < maps or len(o.mask) < (maps - 1) * (len(o.mask) // maps) + o.num_box:
            found = (
                f"{len(o.anchors_scale)} anchors_scale and {len(o.mask)} mask for {maps} maps of {o.num_box} anchors"
            )
            self.fail(found, "yolov3_detection_output_param")
        if o.mask and max(o.mask) >= len(self.anchors):
            found = f"mask {max(o.mask)}, but there are {len(self.anchors)} anchors"
            self.fail(found, "yolov3_detection_output_param.mask")
        each = len(o.mask) // maps
        anchors = [[self.anchors[o.mask[t * each + k]] for k in range(o.num_box)] for t in range(maps)]
        self.settings = {"anchors": anchors, "strides": list(o.anchors_scale[:maps]), **self.thresholds()}
        return [FOUND]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.detection import yolo3_detections

        return [yolo3_detections(list(bottoms), **self.settings)]

    def emit(self, site: Site) -> Code:
        return Code(call("yolo3_detections", f"[{', '.join(site.bottoms)}]", **self.settings))
