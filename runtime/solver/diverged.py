"""A loss that is not a number: which layer it starts in, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from netc.check.advice.signal import signal
from netc.errors import NetcError, Place
from netc.runtime.net.module import Net


def explain(
    net: Net, iteration: int, k: int, batch: dict[str, Tensor], loss: float, snapshot: Path | None
) -> NetcError:
    """R630 for a non-finite loss at `iteration`. Forward pass k is repeated on its `batch`, keeping every blob, to find
    the first layer in the order of execution whose parameters or tops are not finite."""
    where, place = _first(net, k, batch)
    lost = f"the last snapshot is {snapshot}; go on from it with --snapshot" if snapshot else "there is no snapshot yet"
    return NetcError(
        "R630",
        f"the loss is {loss:g} at iteration {iteration}: {where}",
        place,
        f"{_advice(net)}lower base_lr or set clip_gradients; {lost}",
    )


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
