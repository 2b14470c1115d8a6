"""Initial values of parameters, as Caffe's filler.hpp defines them; the draws are torch's, not boost's.

Every filler writes into a CPU tensor in place. fan_in = count / shape[0], fan_out = count / shape[1], so for an
InnerProduct FAN_OUT counts its outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netc.errors import NetcError, Place, did_you_mean

if TYPE_CHECKING:
    import torch

    from netc.layers.base import Layer, ParamBlob

FAN_IN, FAN_OUT, AVERAGE = 0, 1, 2


def fill_blob(tensor: torch.Tensor, blob: ParamBlob, key: int, layer: Layer | None = None) -> None:
    """Fill `tensor` with what a parameter blob starts from: its values where the layer gave some, else its filler's."""
    import torch

    if blob.start is None:
        fill(tensor, blob.filler, key, layer)
    else:
        tensor.copy_(torch.as_tensor(blob.start))


def fill(tensor: torch.Tensor, filler: Any, key: int, layer: Layer | None = None) -> None:
    """Fill `tensor` (float, CPU) as FillerParameter `filler` says (None: constant 0), a pure function of `key`.

    Raises NetcError L320 (unknown filler), L321 (sparse, bilinear or fan that does not fit the shape).
    """
    import torch

    kind = filler.type if filler is not None else "constant"
    if kind not in FILLERS:
        raise _error("L320", f'unknown filler "{kind}"{did_you_mean(kind, FILLERS)}', layer)
    if tensor.numel() == 0:
        return
    generator = torch.Generator().manual_seed(key & 0x7FFFFFFFFFFFFFFF)
    try:
        with torch.no_grad():
            FILLERS[kind](tensor, filler, generator)
    except _DoesNotFitError as error:
        raise _error("L321", str(error), layer) from None


class _DoesNotFitError(Exception):
    pass


def _error(code: str, message: str, layer: Layer | None) -> NetcError:
    place = layer.origin.start if layer is not None else Place("<filler>")
    name = f'layer "{layer.name}": ' if layer is not None else ""
    return NetcError(code, name + message, place)


def _constant(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    tensor.fill_(filler.value if filler is not None else 0.0)


def _uniform(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    tensor.uniform_(filler.min, filler.max, generator=generator)


def _gaussian(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    """N(mean, std²); `sparse` keeps each weight with probability sparse / shape[0] (filler.hpp: GaussianFiller)."""
    import torch

    tensor.normal_(filler.mean, filler.std, generator=generator)
    if filler.sparse >= 0:
        if tensor.dim() < 1 or filler.sparse > tensor.shape[0]:
            raise _DoesNotFitError(
                f"gaussian sparse {filler.sparse} exceeds the first dimension of {tuple(tensor.shape)}"
            )
        keep = torch.empty_like(tensor).uniform_(generator=generator) < filler.sparse / tensor.shape[0]
        tensor.mul_(keep)


def _positive_unitball(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    """Uniform in [0, 1), each row (first axis) divided by its sum."""
    tensor.uniform_(0.0, 1.0, generator=generator)
    rows = tensor.view(tensor.shape[0], -1) if tensor.dim() else tensor.view(1, 1)
    rows.div_(rows.sum(dim=1, keepdim=True))


def _fan(tensor: torch.Tensor, filler: Any) -> float:
    fan_in = tensor.numel() / (tensor.shape[0] if tensor.dim() else 1)
    fan_out = tensor.numel() / tensor.shape[1] if tensor.dim() > 1 else tensor.numel()
    return {FAN_IN: fan_in, FAN_OUT: fan_out, AVERAGE: (fan_in + fan_out) / 2}[filler.variance_norm]


def _xavier(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    bound = math.sqrt(3.0 / _fan(tensor, filler))
    tensor.uniform_(-bound, bound, generator=generator)


def _msra(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    tensor.normal_(0.0, math.sqrt(2.0 / _fan(tensor, filler)), generator=generator)


def _bilinear(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    """Upsampling kernel (1 - |x/f - c|)(1 - |y/f - c|) with f = ceil(k/2), c = (k - 1) / 2f."""
    import torch

    if tensor.dim() != 4 or tensor.shape[2] != tensor.shape[3]:
        raise _DoesNotFitError(f"the bilinear filler needs a 4-D blob with a square kernel, not {tuple(tensor.shape)}")
    size = tensor.shape[3]
    factor = math.ceil(size / 2)
    centre = (size - 1) / (2.0 * factor)
    line = 1 - (torch.arange(size, dtype=torch.float64) / factor - centre).abs()
    tensor.copy_(torch.outer(line, line).to(tensor.dtype).expand_as(tensor))


FILLERS: dict[str, Callable[[torch.Tensor, Any, torch.Generator], None]] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
