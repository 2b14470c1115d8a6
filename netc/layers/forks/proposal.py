from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, between, count, exactly, format_shape, layer
from netc.layers.code import Code, Site, call

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
    mixes_rows = True
    param_field = "proposal_param"
    settings: dict[str, Any]
    numbers: int
    """How many numbers the third bottom has of each image."""

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        o = self.options
        for name in ("ratio", "scale"):
            if not getattr(o, name) or min(getattr(o, name)) <= 0:
                self.fail(f"needs a {name} above 0", f"proposal_param.{name}", f"add `{name}: 1`")
        limits = {"most_before": o.pre_nms_topn, "most": o.post_nms_topn, "threshold": o.nms_thresh}
        anchors = [self._anchor(r, s) for r in o.ratio for s in o.scale]
        self.settings = {"anchors": anchors, "stride": o.feat_stride, "min_size": o.min_size, **limits}
        scores, offsets, images = bottoms
        wanted = (2 * len(anchors), 4 * len(anchors))
        if len(scores) != 4 or len(offsets) != 4 or (scores[1], offsets[1]) != wanted or scores[2:] != offsets[2:]:
            listed = f"{format_shape(scores)} and {format_shape(offsets)}"
            found = f"needs {wanted[0]} and {wanted[1]} channels for {len(anchors)} anchors, found {listed}"
            self.fail(found, "bottom", code="L302")
        if not images or images[0] != scores[0] or count(images, 1) < 3:
            self.fail(f"needs 3 or more numbers an image, found {format_shape(images)}", "bottom[2]", code="L302")
        self.numbers = count(images, 1)
        rows = scores[0] * o.post_nms_topn
        return [(rows, 5), (rows,)][: len(self.param.top)]

    def _anchor(self, ratio: float, scale: float) -> tuple[float, float, float, float]:
        base = self.options.base_size
        width = int((base * base / ratio) ** 0.5 + 0.5)
        height = int(width * ratio + 0.5)
        middle, x, y = (base - 1) / 2, (width * scale - 1) / 2, (height * scale - 1) / 2
        return (middle - x, middle - y, middle + x, middle + y)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.regions import proposed_regions

        return proposed_regions(*bottoms, **self.settings)[: len(self.param.top)]

    has_operators = True

    def operators(self, op: Any, bottoms: Sequence[Any]) -> Sequence[Any]:
        from netc.layers.operators.boxes import proposed_regions

        return proposed_regions(op, *bottoms, numbers=self.numbers, **self.settings)[: len(self.param.top)]

    def traced_shapes(self, bottoms: Sequence[Shape], unknown: Callable[[], Any]) -> Sequence[Shape]:
        rows = unknown()
        return [(rows, 5), (rows,)][: len(self.param.top)]

    def emit(self, site: Site) -> Code:
        found = call("proposed_regions", *site.bottoms, **self.settings)
        return Code(found, together=True) if site.tops > 1 else Code(f"{found}[0]")
