from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, count, exactly, format_shape, layer

if TYPE_CHECKING:
    from torch import Tensor

Rows = list[list[float]]


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

    fork = "SSD (weiliu89/caffe)"
    bottoms = exactly(2)
    in_place = False
    no_gradient = None
    param_field = "detection_evaluate_param"
    classes: list[int]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        o = self.options
        if o.num_classes < 1:
            self.fail("needs num_classes", "detection_evaluate_param", "add `num_classes: 21`")
        for place, width in ((0, 7), (1, 8)):
            if not bottoms[place] or bottoms[place][-1] != width:
                found = f"needs rows of {width} numbers, found {format_shape(bottoms[place])}"
                self.fail(found, f"bottom[{place}]", code="L302")
        self.classes = [c for c in range(o.num_classes) if c != o.background_label_id]
        return [(1, 1, len(self.classes) + count(bottoms[0]) // 7, 5)]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch

        if self.options.name_size_file:
            hint = "take name_size_file out: boxes are compared in shares of the image then"
            field = "detection_evaluate_param.name_size_file"
            self.fail("comparing boxes in pixels (name_size_file) is not available", field, hint, "L353")
        found = [row for row in bottoms[0].detach().reshape(-1, 7).tolist() if row[1] != -1]
        objects = [row for row in bottoms[1].detach().reshape(-1, 8).tolist() if row[0] != -1]
        rows: Rows = [[-1, c, self._number(objects, c), -1, -1] for c in self.classes]
        for key in sorted({(row[0], row[1]) for row in found}):
            mine = sorted((row for row in found if (row[0], row[1]) == key), key=lambda row: -row[2])
            rows += self._judge(mine, [row for row in objects if (row[0], row[1]) == key])
        return [torch.tensor(rows, dtype=bottoms[0].dtype, device=bottoms[0].device)[None, None]]

    def _number(self, objects: Rows, label: int) -> int:
        """How many objects of a class there are to find."""
        return sum(row[1] == label and self._counts(row) for row in objects)

    def _counts(self, row: list[float]) -> bool:
        return bool(self.options.evaluate_difficult_gt) or not row[7]

    def _judge(self, found: Rows, objects: Rows) -> Rows:
        """Rows (image, class, score, right, wrong) for the detections of one class in one image, best first."""
        import torch

        from netc.layers.forks._boxes import overlaps

        if not objects:
            return [[*row[:3], 0, 1] for row in found]
        boxes = torch.tensor([row[3:7] for row in found], dtype=torch.float64)
        pairs = overlaps(boxes, torch.tensor([row[3:7] for row in objects], dtype=torch.float64))
        values, places = pairs.max(1)
        seen: set[int] = set()
        judged = []
        for row, overlap, place in zip(found, values.tolist(), places.tolist(), strict=True):
            right = overlap >= self.options.overlap_threshold
            if right and not self._counts(objects[place]):
                judged.append([*row[:3], 0, 0])
                continue
            right = right and place not in seen
            seen |= {place} if right else set()
            judged.append([*row[:3], int(right), int(not right)])
        return judged
