from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, at_least, between, format_shape, layer
from netc.layers.forks.detection_output import FOUND

if TYPE_CHECKING:
    from torch import Tensor


class YoloOutput(Layer):
    """Boxes from feature maps whose channels are (x, y, w, h, object, classes …) for each anchor."""

    in_place = False
    no_gradient = None
    anchors: list[tuple[float, float]]

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

    def table(self, x: Tensor, anchors: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor, Tensor]:
        """(N, C, S, S) → boxes (N, S, S, anchors, 4) as centre and size in shares of the image, objects, classes.

        `anchors`: width and height in shares of the image.
        """
        import torch

        n, _, side, _ = x.shape
        maps = x.reshape(n, len(anchors), -1, side, side).permute(0, 3, 4, 1, 2)
        place = torch.arange(side, dtype=x.dtype, device=x.device)
        cx = (maps[..., 0].sigmoid() + place[None, None, :, None]) / side
        cy = (maps[..., 1].sigmoid() + place[None, :, None, None]) / side
        size = maps[..., 2:4].exp() * torch.tensor(anchors, dtype=x.dtype, device=x.device)
        return torch.cat([cx[..., None], cy[..., None], size], -1), maps[..., 4].sigmoid(), maps[..., 5:]

    def kept(self, images: int, rows: list[Tensor], like: Tensor) -> Tensor:
        """Rows of (image, class, score, centre, size) → the top: thinned out image by image, all classes together."""
        import torch

        from netc.layers.forks._boxes import nothing_found, suppress

        found = []
        for n in range(images):
            table = torch.cat([row[row[:, 0] == n] for row in rows])
            table = table[table[:, 2].argsort(descending=True, stable=True)]
            corners = torch.cat([table[:, 3:5] - table[:, 5:] / 2, table[:, 3:5] + table[:, 5:] / 2], 1)
            # a box goes at an overlap of just the threshold, too: hence the next smaller number
            chosen = suppress(corners, _below(self.options.nms_threshold))
            found.append(torch.cat([table[:, :3], corners], 1)[chosen])
        top = torch.cat(found)
        return top[None, None] if len(top) else nothing_found(images, like)


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
        return [FOUND]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        rows = []
        for x in bottoms:
            anchors = [(w / x.shape[3], h / x.shape[3]) for w, h in self.anchors[: self.options.num_box]]
            boxes, thing, classes = self.table(x, anchors)
            best, label = classes.softmax(-1).max(-1)
            score = thing * best
            rows.append(_rows(boxes, score, label, score >= self.options.confidence_threshold))
        return [self.kept(len(bottoms[0]), rows, bottoms[0])]


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
        return [FOUND]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        o, rows = self.options, []
        each = len(o.mask) // len(bottoms)
        for t, x in enumerate(bottoms):
            pixels = x.shape[3] * o.anchors_scale[t]
            mine = [self.anchors[o.mask[t * each + k]] for k in range(o.num_box)]
            boxes, thing, classes = self.table(x, [(w / pixels, h / pixels) for w, h in mine])
            score = thing[..., None] * classes.sigmoid()
            label = score.new_ones(score.shape).long().cumsum(-1) - 1
            wide = boxes[..., None, :].expand(*score.shape, 4)
            rows.append(_rows(wide, score, label, score > o.confidence_threshold))
        return [self.kept(len(bottoms[0]), rows, bottoms[0])]


def _rows(boxes: Tensor, score: Tensor, label: Tensor, chosen: Tensor) -> Tensor:
    """(image, class + 1, score, centre, size) of the boxes that are chosen."""
    import torch

    image = chosen.nonzero()[:, 0].to(score.dtype)
    return torch.cat([torch.stack([image, label[chosen].to(score.dtype) + 1, score[chosen]], 1), boxes[chosen]], 1)


def _below(threshold: float) -> float:
    """The largest number below the threshold, in 32 bits."""
    import torch

    return float(torch.nextafter(torch.tensor(threshold), torch.tensor(0.0)))
