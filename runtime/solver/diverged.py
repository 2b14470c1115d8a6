"""A loss that is not a number: which layer it starts in, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from netc.errors import NetcError, Place
from netc.runtime.net.module import Net
from netc.runtime.solver.causes import named, ranked
from netc.runtime.solver.rules import Slot


def explain(
    net: Net, iteration: int, k: int, batch: dict[str, Tensor], loss: float, given: Collection[str] = ()
) -> NetcError:
    """R630 for a non-finite loss at `iteration`. The data come first: if they are finite, forward pass k is repeated on
    its `batch`, keeping every blob, to find the first layer in the order of execution whose parameters or tops are not,
    and the records for which they are not. `given`: tops that the calling program feeds."""
    message = f"the loss is {loss:g} at iteration {iteration}"
    if (found := _in_data(net, k, batch, given)) is not None:
        return NetcError("R630", f"{message}: {found[0]}", found[1], "the data are at fault: correct them there")
    where, place, rows = _first(net, k, batch)
    every = range(max((len(tensor) for tensor in batch.values() if tensor.dim()), default=0))
    some = rows if 0 < len(rows) < len(every) else []
    records = f"; {'in' if some else 'the batch is'} {named(net, k, some or every, given)}" if every else ""
    return NetcError("R630", f"{message}: {where}{records}", place, ranked(net, k, batch, some, given))


def of_gradients(
    net: Net, slots: Sequence[Slot], iteration: int, loss: float, sure: Callable[[Tensor], bool] = lambda weight: False
) -> NetcError | None:
    """R630 for a gradient that is not finite, though the loss is; None where all are finite. One pass over those that
    are not finite for `sure`."""
    moving = [slot.value for slot in slots if slot.lr_mult and slot.value.grad is not None]
    gradients = [value.grad for value in moving if value.grad is not None and not sure(value)]
    if not gradients or math.isfinite(float(torch.stack([each.sum() for each in gradients]).sum())):
        return None
    for node in net.graph.nodes:
        for position, tensor in enumerate(net.params.get(node.name, ()) if node.params else ()):
            if tensor.grad is not None and not _finite(tensor.grad):
                where = f'the gradient of parameter {position} of layer "{node.name}" ({node.type}) is not finite'
                message = f"{where} at iteration {iteration}, the loss is {loss:g}"
                return NetcError("R630", message, node.place, ranked(net, 0, {}, [], ()))
    return None  # the sum alone is too large


def with_state(error: NetcError, snapshot: Path | None) -> NetcError:
    """The error; with R630, from where training can go on."""
    if error.code != "R630":
        return error
    lost = f"the last snapshot is {snapshot}; go on from it with --snapshot" if snapshot else "there is no snapshot yet"
    return NetcError(error.code, error.message, error.place, f"{error.hint}; {lost}", error.related)


def _in_data(net: Net, k: int, batch: dict[str, Tensor], given: Collection[str]) -> tuple[str, Place] | None:
    """The first value of a source that is not finite, and the record that it stands in."""
    for node in net.feeding.sources:
        for top in node.tops:
            if top not in batch or _finite(batch[top]):
                continue
            rows = (~torch.isfinite(batch[top].flatten(1) if batch[top].dim() > 1 else batch[top][:, None])).any(1)
            row = int(rows.nonzero()[0])
            record = "" if top in given else net.feeding.record(top, k, row)
            said = f"{record or f'row {row} of what the program gave for pass {k}'} has a value that is not finite"
            return f'{said}, in "{top}" of layer "{node.name}" ({node.type})', node.place
    return None


@torch.no_grad()
def _first(net: Net, k: int, batch: dict[str, Tensor]) -> tuple[str, Place | None, list[int]]:
    """Where the first value that is not finite stands, and in which rows of the batch."""
    params = net.params
    blobs = [top for node in net.graph.nodes for top in node.tops if top in net.graph.shapes]
    net.clock.iteration = k
    values = net(batch, blobs=list(dict.fromkeys(blobs)))
    for node in net.graph.nodes:
        for position, tensor in enumerate(params.get(node.name, ()) if node.params else ()):
            if not _finite(tensor):
                return f'parameter {position} of layer "{node.name}" ({node.type}) is not finite', node.place, []
        for top in node.tops:
            if top in values and not _finite(values[top]):
                said = f'the first blob not to be finite is "{top}" of layer "{node.name}" ({node.type})'
                return said, node.place, _rows(values[top])
    return "every blob is finite, only their sum is not", None, []


def _rows(tensor: Tensor) -> list[int]:
    if not tensor.dim():
        return []
    rows = ~torch.isfinite(tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None]).all(1)
    return [int(row) for row in rows.nonzero()]


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
