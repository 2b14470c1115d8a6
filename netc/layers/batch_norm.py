from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, ParamBlob, Run, Shape, layer
from netc.layers.code import Code, Site, call
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
    keeps_places = True
    kind = "normalisation"
    keeps_zeros = True
    blob_lists = (("mean", "variance", "factor"), ("mean", "variance", "factor", "scale", "bias"))
    starts = {"scale_filler": 1.0}
    uses_sums: bool

    def rms(self, bottom: float, *others: float | None) -> float | None:
        return None if self.options.HasField("use_global_stats") and self.options.use_global_stats else 1.0

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
        for name, size in zip(self.blob_lists[0], (channels, channels, 1), strict=True):
            self.blobs.append(ParamBlob(name, (size,), frozen=True))
        if _learns_scale(self.options):
            for name in self.blob_lists[1][3:]:
                self.add_param(name, (channels,), f"batch_norm_param.{name}_filler")
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
        from netc.layers.functions import normalisation, scales

        x, options = bottoms[0], self.options
        sums = (params[0], params[1], params[2])
        y = normalisation.batch_norm(x, sums, self.uses_sums, options.eps, options.moving_average_fraction)
        return [scales.affine(y, params[3], params[4], x.dim() - 2) if len(params) > 3 else y]

    def emit(self, site: Site) -> Code:
        """In TEST by the sums, in TRAIN by the batch (after `net.eval()` by the sums), or as the file says."""
        settings = self.changed(eps="eps", fraction="moving_average_fraction")
        if self.uses_sums or self.options.HasField("use_global_stats"):
            settings["use_global_stats"] = self.uses_sums
        kind, starts = "BatchNorm", {}
        if _learns_scale(self.options):
            kind, starts = "ScaledBatchNorm", {"scale": 1.0, "bias": 0.0}
        return Code(site.call(), call(kind, self.blobs[0].shape[0], **settings), starts=starts)


def _learns_scale(options: Any) -> bool:
    """NVIDIA's own rule: a filler asks for it too. (With `filler` it is Intel's, whose Scale layer follows.)"""
    filler = options.HasField("scale_filler") or (options.HasField("bias_filler") and not options.HasField("filler"))
    return bool(options.scale_bias) or filler
