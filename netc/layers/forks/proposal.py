from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, between, count, exactly, format_shape, layer

if TYPE_CHECKING:
    from torch import Tensor


@layer("Proposal")
class Proposal(Layer):
    """Regions of interest from the scores and offsets of anchors: the region proposal network's last step.

    Anchors of a position: for each ratio r and scale s, boxes of round(base / sqrt(r)) · s × round(r · that width) · s
    pixels around the middle of the first feat_stride × feat_stride cell, (base - 1) / 2. Offsets move them as in Faster
    R-CNN; they are cut off at the image's edge; those smaller than min_size (times the image's scale) score 0. Of the
    pre_nms_topn best, non-maximum suppression keeps post_nms_topn that overlap by nms_thresh or less. Sides are counted
    in whole pixels, both ends included.
    Bottoms: scores (N, 2A, H, W), the second half of being an object; offsets (N, 4A, H, W); images (N, 4 or more)
    of (height, width, vertical scale, horizontal scale), or (N, 3) with one scale for both.
    Fields: `ratio`, `scale`, `base_size` (16), `feat_stride` (16), `min_size` (16), `pre_nms_topn` (6000),
    `post_nms_topn` (300), `nms_thresh` (0.7). Shapes: → (R, 5) regions (image, x1, y1, x2, y2), and (R) scores; R is at
    most N · post_nms_topn and known only when it runs. Errors: channels that do not fit the anchors. No gradient.
    Source: Faster R-CNN (Ren et al., 2015), section 3.1; proposal_layer.cpp of sanghoon/pva-faster-rcnn.
    """

    fork = "PVANet (sanghoon/pva-faster-rcnn)"
    bottoms = exactly(3)
    tops = between(1, 2)
    in_place = False
    no_gradient = None
    param_field = "proposal_param"
    anchors: list[tuple[float, float, float, float]]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        o = self.options
        for name in ("ratio", "scale"):
            if not getattr(o, name) or min(getattr(o, name)) <= 0:
                self.fail(f"needs a {name} above 0", f"proposal_param.{name}", f"add `{name}: 1`")
        self.anchors = [self._anchor(r, s) for r in o.ratio for s in o.scale]
        scores, offsets, images = bottoms
        wanted = (2 * len(self.anchors), 4 * len(self.anchors))
        if len(scores) != 4 or len(offsets) != 4 or (scores[1], offsets[1]) != wanted or scores[2:] != offsets[2:]:
            listed = f"{format_shape(scores)} and {format_shape(offsets)}"
            found = f"needs {wanted[0]} and {wanted[1]} channels for {len(self.anchors)} anchors, found {listed}"
            self.fail(found, "bottom", code="L302")
        if not images or images[0] != scores[0] or count(images, 1) < 3:
            self.fail(f"needs 3 or more numbers an image, found {format_shape(images)}", "bottom[2]", code="L302")
        rows = scores[0] * o.post_nms_topn
        return [(rows, 5), (rows,)][: len(self.param.top)]

    def _anchor(self, ratio: float, scale: float) -> tuple[float, float, float, float]:
        base = self.options.base_size
        width = int((base * base / ratio) ** 0.5 + 0.5)
        height = int(width * ratio + 0.5)
        middle, x, y = (base - 1) / 2, (width * scale - 1) / 2, (height * scale - 1) / 2
        return (middle - x, middle - y, middle + x, middle + y)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch

        scores, offsets, images = bottoms
        found = [self._of_image(n, scores[n], offsets[n], images[n].flatten()) for n in range(len(scores))]
        rows = torch.cat(found)
        return [rows[:, :5], rows[:, 5]][: len(self.param.top)]

    def _of_image(self, n: int, scores: Tensor, offsets: Tensor, image: Tensor) -> Tensor:
        """Rows of (image, x1, y1, x2, y2, score), best first."""
        import torch

        from netc.layers.forks._boxes import suppress

        o = self.options
        height, width, down = (float(v) for v in image[:3])
        across = float(image[3]) if len(image) > 3 else down
        boxes = self._moved(offsets, height, width)
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        large = (sides[:, 0] >= o.min_size * across) & (sides[:, 1] >= o.min_size * down)
        score = scores[len(self.anchors) :].permute(1, 2, 0).reshape(-1) * large
        order = score.argsort(descending=True, stable=True)[: o.pre_nms_topn]
        ends = boxes[order] + boxes.new_tensor([0, 0, 1, 1])  # a side counts both of its ends
        kept = order[torch.tensor(suppress(ends, o.nms_thresh, most=o.post_nms_topn), device=order.device)]
        return torch.cat([boxes.new_full((len(kept), 1), n), boxes[kept], score[kept, None]], 1)

    def _moved(self, offsets: Tensor, height: float, width: float) -> Tensor:
        """The anchors of all positions, moved, and cut off at the edge: (H · W · A, 4)."""
        import torch

        stride, (rows, columns) = self.options.feat_stride, offsets.shape[1:]
        anchors = offsets.new_tensor(self.anchors)
        y = torch.arange(rows, device=offsets.device)[:, None].expand(rows, columns) * stride
        x = torch.arange(columns, device=offsets.device)[None].expand(rows, columns) * stride
        boxes = anchors + torch.stack([x, y, x, y], -1)[:, :, None]
        move = offsets.reshape(len(self.anchors), 4, rows, columns).permute(2, 3, 0, 1)
        sides = boxes[..., 2:] - boxes[..., :2] + 1
        centre = boxes[..., :2] + sides / 2 + move[..., :2] * sides
        half = move[..., 2:].exp() * sides / 2
        limit = offsets.new_tensor([width - 1, height - 1, width - 1, height - 1])
        return torch.cat([centre - half, centre + half], -1).reshape(-1, 4).clamp(min=0).minimum(limit)
