"""A loss that is not a number: which layer it starts in, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from netc.check.advice.signal import signal
from netc.errors import NetcError, Place
from netc.runtime.net.module import Net


def explain(
    net: Net,
    iteration: int,
    k: int,
    batch: dict[str, Tensor],
    loss: float,
    snapshot: Path | None,
    given: Collection[str] = (),
) -> NetcError:
    """R630 for a non-finite loss at `iteration`. The data come first: if they are finite, forward pass k is repeated on
    its `batch`, keeping every blob, to find the first layer in the order of execution whose parameters or tops are not.
    `given`: tops that the calling program feeds."""
    lost = f"the last snapshot is {snapshot}; go on from it with --snapshot" if snapshot else "there is no snapshot yet"
    message = f"the loss is {loss:g} at iteration {iteration}"
    if (found := _in_data(net, k, batch, given)) is not None:
        fault = "the data are at fault: correct them there"
        return NetcError("R630", f"{message}: {found[0]}", found[1], f"{fault}; {lost}")
    where, place = _first(net, k, batch)
    return NetcError("R630", f"{message}: {where}", place, f"{_advice(net)}lower base_lr or set clip_gradients; {lost}")


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


def _advice(net: Net) -> str:
    """What is to be looked at before the rate: what `netc check` remarks on the signal that the fillers make."""
    return "".join(f"netc check warns of this net ({one.code}): {one.hint}; then " for one in signal(net.graph))


@torch.no_grad()
def _first(net: Net, k: int, batch: dict[str, Tensor]) -> tuple[str, Place | None]:
    params = net.params
    blobs = [top for node in net.graph.nodes for top in node.tops if top in net.graph.shapes]
    net.clock.iteration = k
    values = net(batch, blobs=list(dict.fromkeys(blobs)))
    for node in net.graph.nodes:
        for position, tensor in enumerate(params.get(node.name, ()) if node.params else ()):
            if not _finite(tensor):
                return f'parameter {position} of layer "{node.name}" ({node.type}) is not finite', node.place
        for top in node.tops:
            if top in values and not _finite(values[top]):
                return f'the first blob not to be finite is "{top}" of layer "{node.name}" ({node.type})', node.place
    return "every blob is finite, only their sum is not", None


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
