"""Initial values of parameters, as Caffe's filler.hpp defines them; the draws are torch's, not boost's.

Every filler writes into a CPU tensor in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netc.errors import NetcError, Place, did_you_mean
from netc.layers.fillers import fan

if TYPE_CHECKING:
    import torch

    from netc.layers.base import Layer, ParamBlob


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
    """N(mean, std²); `sparse` keeps each weight with probability sparse / shape[0]."""
    if filler.sparse < 0:
        tensor.normal_(filler.mean, filler.std, generator=generator)
        return
    if tensor.dim() < 1 or filler.sparse > tensor.shape[0]:
        raise _DoesNotFitError(f"gaussian sparse {filler.sparse} exceeds the first dimension of {tuple(tensor.shape)}")
    from netc.layers.functions.fillers import sparse_normal_

    sparse_normal_(tensor, filler.std, filler.sparse, filler.mean, generator)


def _positive_unitball(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    from netc.layers.functions.fillers import positive_unitball_

    positive_unitball_(tensor, generator)


def _xavier(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    bound = math.sqrt(3.0 / fan(filler.variance_norm, tuple(tensor.shape)))
    tensor.uniform_(-bound, bound, generator=generator)


def _msra(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    tensor.normal_(0.0, math.sqrt(2.0 / fan(filler.variance_norm, tuple(tensor.shape))), generator=generator)


def _bilinear(tensor: torch.Tensor, filler: Any, generator: torch.Generator) -> None:
    if tensor.dim() != 4 or tensor.shape[2] != tensor.shape[3]:
        raise _DoesNotFitError(f"the bilinear filler needs a 4-D blob with a square kernel, not {tuple(tensor.shape)}")
    from netc.layers.functions.fillers import bilinear_

    bilinear_(tensor)


FILLERS: dict[str, Callable[[torch.Tensor, Any, torch.Generator], None]] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
