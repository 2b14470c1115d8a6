from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, between, count, exactly, format_shape, layer
from netc.layers.code import Code, Site, call
from netc.layers.losses import LabelLoss

if TYPE_CHECKING:
    from torch import Tensor


@layer("SoftmaxWithLossOHEM")
class SoftmaxWithLossOHEM(LabelLoss):
    """The loss of SoftmaxWithLoss as first top, the probabilities as second, the loss of each position as third.

    Fields: `loss_param`, `softmax_param.axis` (1), as in SoftmaxWithLoss. Gradients go through the first top.
    Shapes: (N, C, …), labels for every position → scalar, (N, C, …), the labels' shape. Errors: those of
    SoftmaxWithLoss. Source: R-FCN (Dai et al., 2016), section 2; softmax_loss_ohem_layer.cpp of
    daijifeng001/caffe-rfcn.
    """

    fork = "R-FCN (daijifeng001/caffe-rfcn)"
    tops = between(1, 3)
    param_field = "loss_param"
    takes = "scores"
    contains = "Softmax"
    informative_tops = (1, 2)
    function = "softmax_loss_with_terms"
    values = 3

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.read_labels(bottoms, self.param.softmax_param.axis, "softmax_param.axis")
        return self.first_tops([(), bottoms[0], bottoms[1]])


@layer("BoxAnnotatorOHEM")
class BoxAnnotatorOHEM(Layer):
    """Online hard example mining: of each image's regions, those with the highest losses keep their labels.

    Bottoms: regions (R, 5) with the image's number first, their losses, labels, and weights of the boxes. Tops: the
    labels, ignore_label for all but the `roi_per_img` regions of the highest losses of each image, and the weights, 0
    for those. Fields: `roi_per_img` (required), `ignore_label` (-1). Shapes: (R, 5, …), (R, …), (R, …), (R, …) → those
    of the two last. Errors: numbers of regions that differ. No gradient.
    Source: Shrivastava et al., 2016; R-FCN (Dai et al., 2016); box_annotator_ohem_layer.cpp of daijifeng001/caffe-rfcn.
    """

    fork = "R-FCN (daijifeng001/caffe-rfcn)"
    bottoms = exactly(4)
    mixes_rows = True
    tops = exactly(2)
    in_place = False
    no_gradient = None
    param_field = "box_annotator_ohem_param"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if self.options.roi_per_img < 1:
            field = "box_annotator_ohem_param.roi_per_img"
            self.fail("needs a roi_per_img of at least 1", field, "add `roi_per_img: 128`")
        rois, loss, labels, weights = bottoms
        if len({shape[:1] for shape in bottoms}) > 1 or not rois or count(loss) != count(labels):
            listed = ", ".join(map(format_shape, bottoms))
            self.fail(f"its bottoms are not of as many regions: {listed}", "bottom", code="L302")
        if count(rois, 1) != 5 or count(loss) != rois[0]:
            self.fail(f"needs regions of 5 numbers, found {format_shape(rois)}", "bottom[0]", code="L302")
        return [labels, weights]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.regions import hardest_regions

        rois, losses, labels, weights = bottoms
        return hardest_regions(rois, losses, labels, weights, self.options.roi_per_img, self.options.ignore_label)

    def emit(self, site: Site) -> Code:
        settings = self.changed(ignore="ignore_label")
        return Code(call("hardest_regions", *site.bottoms, self.options.roi_per_img, **settings), together=True)
