from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, ParamBlob, Run, Shape, layer
from netc.prototxt.forks import INTEL

if TYPE_CHECKING:
    from torch import Tensor

TEST = 1


@layer("BatchNorm")
class BatchNorm(Layer):
    """y = (x - mean) / sqrt(variance + eps) for each channel, without scale and shift (that is a Scale layer's work).

    The parameters are running sums: of means, of variances (unbiased) and of their weights, so the statistics are
    mean / factor and variance / factor (0 where the factor is 0). With batch statistics, y uses the batch's own mean
    and biased variance, and the sums become moving_average_fraction · sum + new; this happens in every forward pass.
    Fields: `use_global_stats` (default: in TEST), `moving_average_fraction` (0.999), `eps` (1e-5); NVIDIA's
    `scale_bias` (false; a filler sets it) learns a factor and an offset behind it, `scale_filler` (1), `bias_filler`
    (0).
    Shapes: (N, C, …) → the same; mean (C), variance (C), factor (1), none of them trained; scale (C), bias (C).
    Errors: an lr_mult of the sums other than 0. Source: batch_norm_layer.cpp.
    """

    param_field = "batch_norm_param"
    uses_sums: bool

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        for index, spec in enumerate(self.param.param[:3]):
            if spec.lr_mult != 0:
                self.fail(
                    f"its statistics are not trained, but param {index} has lr_mult {spec.lr_mult:g}",
                    f"param[{index}].lr_mult",
                    "set lr_mult: 0, or leave the param blocks out",
                )
        given = self.options.HasField("use_global_stats")
        self.uses_sums = self.options.use_global_stats if given else self.phase == TEST
        channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
        for name, size in (("mean", channels), ("variance", channels), ("factor", 1)):
            self.blobs.append(ParamBlob(name, (size,), frozen=True))
        if _learns_scale(self.options):
            self.add_param("scale", (channels,), "batch_norm_param.scale_filler", 1.0)
            self.add_param("bias", (channels,), "batch_norm_param.bias_filler")
        return [bottoms[0]]

    def check_net(self, net: Any, bottoms: Sequence[Shape]) -> None:
        """Raise L355 where Intel's bn_stats_batch_size divides a batch whose statistics count."""
        group = net.bn_stats_batch_size
        if 0 < group < bottoms[0][0] and not self.uses_sums:
            self.fail(
                f"bn_stats_batch_size {group} of {INTEL} divides the batch of {bottoms[0][0]}, which netc does not do",
                hint=f"take bn_stats_batch_size out, or make the batch {group}",
                code="L355",
            )

    @classmethod
    def variant(cls, param: Any) -> str:
        return "with a factor and an offset" if _learns_scale(param.batch_norm_param) else ""

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x = bottoms[0] if bottoms[0].dim() > 1 else bottoms[0][:, None]
        y = self._with_sums(x, params[:3]) if self.uses_sums else self._with_batch(x, params[:3])
        if len(params) > 3:
            scale, bias = (p.view(-1, *[1] * (x.dim() - 2)) for p in params[3:])
            y = y * scale + bias
        return [y.view_as(bottoms[0])]

    def _with_sums(self, x: Tensor, params: Sequence[Tensor]) -> Tensor:
        import torch
        import torch.nn.functional as F

        mean, variance, factor = params
        scale = torch.where(factor == 0, 0, 1 / factor)
        return F.batch_norm(x, mean * scale, variance * scale, eps=self.options.eps)

    def _with_batch(self, x: Tensor, params: Sequence[Tensor]) -> Tensor:
        import torch

        if x.numel() == x.shape[1]:  # one value a channel: torch refuses, Caffe takes a variance of 0
            self._add(params, (x.detach().flatten(), torch.zeros_like(params[1])))
            return x - x
        # with momentum 1, torch's running statistics become the batch's mean and unbiased variance
        mean, variance = torch.zeros_like(params[0]), torch.zeros_like(params[1])
        eps, cudnn = self.options.eps, torch.backends.cudnn.enabled
        y: Tensor = torch.batch_norm(x, None, None, mean, variance, True, 1.0, eps, cudnn)
        self._add(params, (mean, variance))
        return y

    def _add(self, params: Sequence[Tensor], new: tuple[Tensor, Tensor]) -> None:
        """Add a batch's mean and variance, and 1 for the factor, to the faded sums."""
        import torch

        fraction = self.options.moving_average_fraction
        with torch.no_grad():
            for total, value in zip(params, (*new, torch.ones_like(params[2])), strict=True):
                total.mul_(fraction).add_(value)


def _learns_scale(options: Any) -> bool:
    """NVIDIA's own rule: a filler asks for it too. (With `filler` it is Intel's, whose Scale layer follows.)"""
    filler = options.HasField("scale_filler") or (options.HasField("bias_filler") and not options.HasField("filler"))
    return bool(options.scale_bias) or filler
