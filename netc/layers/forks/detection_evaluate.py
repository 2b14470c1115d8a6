from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, count, exactly, format_shape, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


@layer("DetectionEvaluate")
class DetectionEvaluate(Layer):
    """Which detections are right, as average precision is computed from.

    A detection is right if the object of its class that it overlaps most, overlaps by overlap_threshold or more and has
    no detection of a higher score. Without `evaluate_difficult_gt` objects marked difficult count neither way.
    Bottoms: detections (1, 1, K, 7) of DetectionOutput, objects (1, 1, G, 8). Fields: `num_classes` (required),
    `background_label_id` (0), `overlap_threshold` (0.5), `evaluate_difficult_gt` (true).
    Shapes: → (1, 1, classes + K, 5): a row (-1, class, number of objects, -1, -1) for each class but the background,
    then a row (image, class, score, right, wrong) for each detection. Errors: shapes; when run, L353 a name_size_file
    (SSD compares boxes in pixels then). No gradient.
    Source: PASCAL VOC (Everingham et al., 2010), section 4; detection_evaluate_layer.cpp of weiliu89/caffe.
    """

    is_measure = True
    mixes_rows = True
    fork = "SSD (weiliu89/caffe)"
    bottoms = exactly(2)
    in_place = False
    no_gradient = None
    param_field = "detection_evaluate_param"
    settings: dict[str, Any]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        o = self.options
        if o.num_classes < 1:
            self.fail("needs num_classes", "detection_evaluate_param", "add `num_classes: 21`")
        for place, width in ((0, 7), (1, 8)):
            if not bottoms[place] or bottoms[place][-1] != width:
                found = f"needs rows of {width} numbers, found {format_shape(bottoms[place])}"
                self.fail(found, f"bottom[{place}]", code="L302")
        self.settings = self.changed(
            classes="num_classes",
            background="background_label_id",
            least_overlap="overlap_threshold",
            difficult="evaluate_difficult_gt",
        )
        classes = o.num_classes - (o.background_label_id < o.num_classes)
        return [(1, 1, classes + count(bottoms[0]) // 7, 5)]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.detection import judged_detections

        self._check_unit()
        return [judged_detections(*bottoms, **self.settings)]

    def _check_unit(self) -> None:
        if self.options.name_size_file:
            hint = "take name_size_file out: boxes are compared in shares of the image then"
            field = "detection_evaluate_param.name_size_file"
            self.fail("comparing boxes in pixels (name_size_file) is not available", field, hint, "L353")

    def emit(self, site: Site) -> Code:
        self._check_unit()
        return Code(call("judged_detections", *site.bottoms, **self.settings))
