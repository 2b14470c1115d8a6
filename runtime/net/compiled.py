"""A net's forward pass compiled by torch (`torch.compile`), or as it is where torch cannot compile it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from netc.graph.ir import Graph
from netc.runtime.net.module import Net


class Compiled(nn.Module):
    """`net`, compiled at the first call. Where torch cannot, `warn` is told why, and this call and all others run the
    net as it is.

    Each shape of the batch is compiled for itself: a graph of free sizes may compute other bits than one of fixed
    sizes, and which of them a shard would meet depended on the shards before it.
    """

    def __init__(self, net: Net, warn: Callable[[str], None]) -> None:
        super().__init__()
        self.net, self.warn = net, warn
        self._compiled: Callable[..., dict[str, Tensor]] | None = torch.compile(
            net.outputs_of, fullgraph=True, dynamic=False
        )

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._compiled is not None:
            try:
                return self._compiled(batch)
            except _failures() as error:
                self._compiled = None
                self.warn(f"--compile: {reason(error, self.net.graph)}; going on without it")
        return self.net.outputs_of(batch)


def _failures() -> tuple[type[Exception], ...]:
    """What torch raises where it cannot trace a net, or has no compiler for this machine."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    return TorchDynamoException, InductorError


def reason(error: Exception, graph: Graph) -> str:
    """Why a net cannot be compiled: the layers whose code torch stopped in, and what it says."""
    said = str(error).strip().splitlines()
    first = said[0].rstrip(".: ") if said else type(error).__name__
    stack = getattr(error, "real_stack", None) or ()
    files = {str(Path(frame.filename).resolve()) for frame in stack}
    found = [node for node in graph.nodes if _file(type(node.layer)) in files]
    if not found:
        return f"torch cannot compile this net ({first})"
    layers = ", ".join(f'"{node.name}" ({node.type})' for node in found)
    return f"torch cannot trace {'layer' if len(found) == 1 else 'one of the layers'} {layers} ({first})"


def _file(layer: type) -> str:
    return str(Path(inspect.getfile(layer)).resolve())
