from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.affine import Affine, doubles, normalising, then
from netc.layers.base import Layer, ParamBlob, Run, Shape, layer
from netc.layers.code import Code, Site, call
from netc.prototxt.forks import INTEL, NVIDIA

if TYPE_CHECKING:
    from torch import Tensor

TEST = 1
LEAST_EPS = 1e-5
"""NVIDIA's layer takes no eps below this one, cuDNN's least."""


@layer("BatchNorm")
class BatchNorm(Layer):
    """y = (x - mean) / sqrt(variance + eps) for each channel, without scale and shift (that is a Scale layer's work).

    The parameters are running sums: of means, of variances (unbiased) and of their weights, so the statistics are
    mean / factor and variance / factor (0 where the factor is 0). With batch statistics, y uses the batch's own mean
    and biased variance, and the sums become moving_average_fraction · sum + new; this happens in every forward pass.
    Fields: `use_global_stats` (default: in TEST), `moving_average_fraction` (0.999), `eps` (1e-5).
    NVIDIA's layer (`scale_bias`, or a filler that sets it) has a learned factor and an offset behind it, `scale_filler`
    (1), `bias_filler` (0). Its mean and variance are averages: blob 2 is there and never read, a batch moves the
    averages by 1 - moving_average_fraction (the first one sets them), TEST always uses them, eps is 1e-5 at least, and
    the lr_mult and decay_mult of the five blobs are 0, 0, 0, 1, 1 whatever the file says.
    Shapes: (N, C, …) → the same; mean (C), variance (C), factor (1), none of them trained; scale (C), bias (C).
    Errors: an lr_mult of the sums other than 0. Source: batch_norm_layer.cpp, of Caffe and of NVIDIA's Caffe 0.17.
    """

    param_field = "batch_norm_param"
    keeps_places = True
    kind = "normalisation"
    keeps_zeros = fresh = True
    blob_lists = (("mean", "variance", "factor"), ("mean", "variance", "factor", "scale", "bias"))
    starts = {"scale_filler": 1.0}
    uses_sums: bool
    nvidias: bool
    eps: float

    def rms(self, bottom: float, *others: float | None) -> float | None:
        return None if self.options.HasField("use_global_stats") and self.options.use_global_stats else 1.0

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        self.nvidias, self.eps = _learns_scale(self.options), self.options.eps
        given = self.options.HasField("use_global_stats")
        self.uses_sums = self.options.use_global_stats if given else self.phase == TEST
        channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
        if self.nvidias:
            self._set_up_nvidias(channels)
            return [bottoms[0]]
        for index, spec in enumerate(self.param.param[:3]):
            if spec.lr_mult != 0:
                self.fail(
                    f"its statistics are not trained, but param {index} has lr_mult {spec.lr_mult:g}",
                    f"param[{index}].lr_mult",
                    "set lr_mult: 0, or leave the param blocks out",
                )
        for name, size in zip(self.blob_lists[0], (channels, channels, 1), strict=True):
            self.blobs.append(ParamBlob(name, (size,), frozen=True))
        return [bottoms[0]]

    def is_local(self) -> bool:
        return self.uses_sums

    def _set_up_nvidias(self, channels: int) -> None:
        self.uses_sums = self.uses_sums or self.phase == TEST
        self.eps = max(self.eps, LEAST_EPS)
        for name in ("mean", "variance"):
            self.blobs.append(ParamBlob(name, (channels,), frozen=True, multipliers=(0, 0)))
        self.blobs.append(ParamBlob("factor", (1,), frozen=True, multipliers=(0, 0), start=[1.0], unread=True))
        for name in self.blob_lists[1][3:]:
            self.add_param(name, (channels,), f"batch_norm_param.{name}_filler")
            self.blobs[-1].multipliers = (1, 1)

    def other_count(self, count: int) -> str | None:
        if count == 5 and not self.nvidias:
            return (
                f"five arrays are a BatchNorm of {NVIDIA}, with scale and bias in it, three are Caffe's, with a Scale "
                "layer behind it: for this file set batch_norm_param { scale_bias: true } and take that Scale layer out"
            )
        if count == 3 and self.nvidias:
            return (
                "three arrays are Caffe's BatchNorm, with a Scale layer behind it, five are a BatchNorm of "
                f"{NVIDIA}, with scale and bias in it: for this file take scale_bias and its fillers out and put a "
                "Scale layer behind"
            )
        return None

    def doubtful(self, arrays: Sequence[Any]) -> str | None:
        """A factor of 0 is what a layer has that saw no batch, and what some of NVIDIA's files hold."""
        if self.nvidias or not self.uses_sums or len(arrays) != 3 or arrays[2].ravel().tolist() != [0]:
            return None
        return (
            "the factor of its sums is 0, so mean and variance count as 0, as in Caffe, whatever the file has there: "
            f"the layer saw no batch, or the file is of {NVIDIA}, which never reads the factor (then set it to 1)"
        )

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

    def running(self) -> Mapping[int, float]:
        kept = self.options.moving_average_fraction
        return {} if self.uses_sums else {0: kept, 1: kept, 2: kept}

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import normalisation, scales

        x, settings = bottoms[0], (self.uses_sums, self.eps, self.options.moving_average_fraction)
        if not self.nvidias:
            return [normalisation.batch_norm(x, (params[0], params[1], params[2]), *settings)]
        y = normalisation.batch_norm_by_averages(x, (params[0], params[1]), *settings)
        return [scales.affine(y, params[3], params[4], x.dim() - 2)]

    def affine(self, arrays: Sequence[Any], bottoms: Sequence[Shape]) -> Affine | str:
        import numpy as np

        if not self.uses_sums:
            return "its statistics are those of each batch"
        mean, variance, factor = doubles(*arrays[:3])
        axis = 1 if len(bottoms[0]) > 1 else None
        if self.nvidias:
            return then(normalising(axis, mean, variance, self.eps), *doubles(*arrays[3:5]))
        scale = np.where(factor == 0, 0.0, 1 / np.where(factor == 0, 1.0, factor))
        return normalising(axis, mean * scale, variance * scale, self.eps)

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        if not self.uses_sums or len(shapes[0]) < 2:
            return None
        mean, variance, factor, *own = params
        channels = op.Shape(mean)
        scale, bias = own or [op.Expand(op.numbers([value]), channels) for value in (1, 0)]
        if not self.nvidias:
            share = op.Where(op.Equal(factor, op.numbers([0])), op.numbers([0]), op.Reciprocal(factor))
            mean, variance = op.Mul(mean, share), op.Mul(variance, share)
        return [op.BatchNormalization(x[0], scale, bias, mean, variance, epsilon=self.eps)]

    def emit(self, site: Site) -> Code:
        """In TEST by the sums, in TRAIN by the batch (after `net.eval()` by the sums), or as the file says."""
        settings = self.changed(eps="eps", fraction="moving_average_fraction")
        settings |= {"eps": self.eps} if "eps" in settings else {}
        if self.uses_sums or (self.options.HasField("use_global_stats") and not self.nvidias):
            settings["use_global_stats"] = self.uses_sums
        kind, starts = "BatchNorm", {}
        if self.nvidias:
            kind, starts = "ScaledBatchNorm", {"scale": 1.0, "bias": 0.0}
        return Code(site.call(), call(kind, self.blobs[0].shape[0], **settings), starts=starts)


def _learns_scale(options: Any) -> bool:
    """NVIDIA's own rule: a filler asks for it too. (With `filler` it is Intel's, whose Scale layer follows.)"""
    filler = options.HasField("scale_filler") or (options.HasField("bias_filler") and not options.HasField("filler"))
    return bool(options.scale_bias) or filler
