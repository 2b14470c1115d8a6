"""A Python layer's code between torch's tensors: an autograd function around its forward and backward.

Imported by `forward` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netc.layers._uncompiled import uncompiled
from netc.pycaffe.blob import Values
from netc.pycaffe.call import PythonCode


@uncompiled
def call(code: PythonCode, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
    """The tops; a compiled graph breaks here, as torch cannot look into the code."""
    if not code.top:
        _forward(code, bottoms, params)
        return []
    return list(_Call.apply(code, len(bottoms), *bottoms, *params))  # type: ignore[no-untyped-call]


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, code: PythonCode, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        tops = _forward(code, tensors[:count], tensors[count:])
        ctx.code, ctx.count = code, count
        ctx.save_for_backward(*tensors, *tops)
        return tuple(tops)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved, count, needed = ctx.saved_tensors, ctx.count, ctx.needs_input_grad[2:]
        tensors, tops = saved[: len(needed)], saved[len(needed) :]
        arrays = [_copy(tensor) for tensor in tensors]
        diffs = ctx.code.backward(
            arrays[:count], arrays[count:], [*map(_copy, tops)], [*map(_copy, grads)], list(needed[:count])
        )
        back = [torch.from_numpy(diff).to(tensor) for diff, tensor in zip((*diffs[0], *diffs[1]), tensors, strict=True)]
        return None, None, *(grad if wanted else None for grad, wanted in zip(back, needed, strict=True))


def _forward(code: PythonCode, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
    """Parameters are handed over as they are: what the code writes into them stays, as in Caffe."""
    shared = [p.detach().cpu().contiguous() for p in params]
    tops = code.forward([_copy(b) for b in bottoms], [p.numpy() for p in shared])
    for param, written in zip(params, shared, strict=True):
        if param.data_ptr() != written.data_ptr():
            param.data.copy_(written)
    like = (*bottoms, *params, torch.empty(0))[0]
    return [torch.from_numpy(top).to(like) for top in tops]


def _copy(tensor: Tensor) -> Values:
    """An array of its own: a layer that writes into its bottom's data must not change the blob that others read."""
    values: Values = tensor.detach().cpu().numpy().copy()
    return values
