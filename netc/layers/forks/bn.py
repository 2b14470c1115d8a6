from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.affine import Affine, doubles, normalising, then
from netc.layers.base import Layer, ParamBlob, Run, Shape, canonical_axis, format_shape, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor

TEST = 1
INFERENCE = 1
SEGNET_EPS = 1e-9
FIELDS = {
    "SegNet": ("bn_mode",),
    "PSPNet": ("var_eps", "moving_average", "decay", "axis"),
    "Cysu": ("slope_filler", "bias_filler", "momentum", "eps", "frozen"),
}
"""Fields by which the forks' layers of this name are told apart."""


@layer("BN")
class BN(Layer):
    """y = scale · (x - mean) / sqrt(variance + eps) + shift for each channel: batch normalisation with its own scale.

    Three forks have a layer of this name; the fields tell which is meant:
    SegNet's (`bn_mode`, or `scale_filler` and `shift_filler` alone) always takes the batch's own mean and biased
    variance, in TEST too, eps 1e-9; with `bn_mode: INFERENCE` y = scale · x + shift. Blobs: scale, shift.
    PSPNet's (`moving_average`, `var_eps` (1e-10), `decay` (0.05), `axis` (1)) does the same, keeps running statistics
    in TRAIN, decay · new + (1 - decay) · old, and with moving_average takes them in TEST. Blobs: scale, shift, mean,
    variance. Cysu's and yjxiong's (`slope_filler`, `bias_filler`, `momentum` (0.9), `eps` (1e-5), `frozen`) takes the
    running statistics in TEST, and in TRAIN too if frozen, when nothing is learned; they become momentum · old +
    (1 - momentum) · new. Blobs: slope, bias, mean, variance. Fillers that are left out are 0, as in the forks.
    Shapes: (N, C, …) → the same; blobs (1, C, 1, 1). Errors: fields of two forks at once.
    Source: Batch Normalization (Ioffe, Szegedy, 2015); bn_layer.cpp of alexgkendall/caffe-segnet, hszhao/PSPNet and
    Cysu/caffe.
    """

    fork = "SegNet (alexgkendall/caffe-segnet)"
    keeps_places = True
    param_field = "bn_param"
    kind = "normalisation"
    blob_lists = (("scale", "shift"), ("scale", "shift", "mean", "variance"), ("slope", "bias", "mean", "variance"))
    of: str
    axis: int
    share: float

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottoms[0]
        if len(shape) < 2:
            self.fail(f"needs a bottom with channels (N, C, …), found {format_shape(shape)}", "bottom", code="L302")
        self.of = self._fork()
        self.axis = canonical_axis(self, self.options.axis, shape, "bn_param.axis")
        blob = tuple(shape[self.axis] if i == self.axis else 1 for i in range(max(4, len(shape))))
        first, second, *running = self.blob_lists[tuple(FIELDS).index(self.of)]
        self.add_param(first, blob, f"bn_param.{first}_filler")
        self.add_param(second, blob, f"bn_param.{second}_filler")
        self.blobs += [ParamBlob(name, blob, frozen=True) for name in running]
        self.share = self.options.decay if self.of == "PSPNet" else 1 - self.options.momentum
        for learned in self.blobs[:2]:
            learned.frozen = self.of == "Cysu" and self.options.frozen
        return [shape]

    def _fork(self) -> str:
        named = _named(self.options)
        if len(named) > 1:
            listed = " and ".join(f"{field} ({fork})" for fork, field in named.items())
            field = f"bn_param.{list(named.values())[1]}"
            self.fail(f"has fields of two forks: {listed}", field, "keep those of one", "L350")
        return next(iter(named), "SegNet")

    @classmethod
    def variant(cls, param: Any) -> str:
        return next(iter(_named(param.bn_param)), "SegNet")

    def running(self) -> Mapping[int, float]:
        fixed = self.phase == TEST or self._is_affine() or self._uses_running(self.phase)
        return {} if fixed or len(self.blobs) < 3 else {2: 1 - self.share, 3: 1 - self.share}

    def is_local(self) -> bool:
        return self._is_affine() or self._uses_running(self.phase)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.fork_normalisation import batch_normalised

        scale, shift, *running = params
        momentum = self.share if running and self.phase != TEST else None
        statistics = "none" if self._is_affine() else "running" if self._uses_running(self.phase) else "batch"
        return [batch_normalised(bottoms[0], scale, shift, running, self._eps(), self.axis, momentum, statistics)]

    def _is_affine(self) -> bool:
        return self.of == "SegNet" and self.options.bn_mode == INFERENCE

    def _uses_running(self, phase: int) -> bool:
        if self.of == "Cysu":
            return phase == TEST or bool(self.options.frozen)
        return self.of == "PSPNet" and phase == TEST and bool(self.options.moving_average)

    def _eps(self) -> float:
        return float({"SegNet": SEGNET_EPS, "PSPNet": self.options.var_eps, "Cysu": self.options.eps}[self.of])

    def affine(self, arrays: Sequence[Any], bottoms: Sequence[Shape]) -> Affine | str:
        scale, shift, *running = (array.reshape(-1) for array in doubles(*arrays))
        if self._is_affine():
            return Affine(self.axis, scale, shift)
        if not running or not self._uses_running(self.phase):
            return "its statistics are those of each batch"
        return then(normalising(self.axis, running[0], running[1], self._eps()), scale, shift)

    def emit(self, site: Site) -> Code:
        first, second, *running = (blob.name for blob in self.blobs)
        settings: dict[str, Any] = {"eps": self._eps()}
        if first != "scale":
            settings["names"] = (first, second)
        if self.axis != 1:
            settings["dim"] = self.axis
        if running:
            settings["momentum"] = self.share
        if self._is_affine():
            settings["statistics"] = "none"
        elif self._uses_running(self.phase):
            settings["statistics"] = "running"
        elif self._uses_running(TEST):
            settings["statistics"] = "by mode"
        return Code(site.call(), module=call("BN", self.blobs[0].shape, **settings))


def _named(options: Any) -> dict[str, str]:
    """The forks whose fields are given, each with the first of them."""
    given = {fork: next((field for field in fields if options.HasField(field)), "") for fork, fields in FIELDS.items()}
    return {fork: field for fork, field in given.items() if field}
