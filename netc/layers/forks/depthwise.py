from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netc.errors.origin import Origin
from netc.layers.base import Probe, Shape, layer
from netc.layers.convolution import Convolution


@layer("DepthwiseConvolution")
class DepthwiseConvolution(Convolution):
    """A Convolution in groups, computed another way: the same fields, shapes, weights and results as Convolution.

    Shapes: as Convolution's. Source: MobileNets (Howard et al., 2017), section 3.1; depthwise_conv_layer.cpp of
    yonghenglh6/DepthwiseConvolution.
    """

    fork = "MobileNet-YOLO (eric612)"


@layer("ConvolutionDepthwise")
class ConvolutionDepthwise(Convolution):
    """A Convolution with a group of its own for each channel; `group` is not looked at.

    Fields: those of Convolution; num_output is the number of the bottom's channels. Shapes: as Convolution's, weight
    (C, 1, kh, kw). Errors: another num_output; those of Convolution. Source: MobileNets (Howard et al., 2017), section
    3.1; conv_dw_layer.cpp of farmingyard/caffe-mobilenet.
    """

    fork = "MobileNet (farmingyard/caffe-mobilenet)"

    def __init__(self, param: Any, phase: int, origin: Origin | None = None, probe: Probe | None = None) -> None:
        super().__init__(type(param).FromString(param.SerializeToString()), phase, origin, probe)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        axis = self.options.axis
        if -len(bottoms[0]) <= axis < len(bottoms[0]):  # else Convolution tells
            channels = bottoms[0][axis]
            if self.options.num_output != channels:
                found = f"num_output {self.options.num_output} for {channels} channels"
                self.fail(found, "convolution_param.num_output", f"one filter a channel: num_output: {channels}")
            self.options.group = channels
        return super().setup(bottoms)
