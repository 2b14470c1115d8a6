"""The nets of a solver: which files, for which phase, level and stages, and with which data (solver.cpp: InitTrainNet,
InitTestNets)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from netc.graph.compile import compile_draft
from netc.graph.filter import filter_net
from netc.graph.ir import Graph
from netc.graph.read import Drafts
from netc.layers import registry
from netc.runtime.data import has_feed
from netc.runtime.data.probing import DataProbe
from netc.runtime.net.computing import EXACT, Computing
from netc.runtime.net.module import Net
from netc.solver.overrides import check_overridden
from netc.solver.plans import NetPlan, planned_state


class Compiled(NamedTuple):
    """A graph, and what has opened its data to tell their shapes."""

    graph: Graph
    probe: DataProbe


class Builder:
    """Builds the nets of plans, reading each file once however many nets come from it."""

    def __init__(
        self,
        seed: int,
        device: str,
        workers: int | None,
        output_dir: str | os.PathLike[str] | None = None,
        computing: Computing = EXACT,
        make: Callable[..., Net] = Net,
    ) -> None:
        self.seed, self.device, self.workers, self.output_dir = seed, device, workers, output_dir
        self.computing, self._make = computing, make
        self._draft = Drafts()

    def compile(self, plan: NetPlan) -> Compiled:
        """The graph of a plan, which needs its data for their shapes."""
        draft = plan.draft(self._draft)
        probe = DataProbe(draft.path)
        graph = compile_draft(draft, planned_state(draft, plan), probe)
        check_overridden(graph, plan.overrides)
        return Compiled(graph, probe)

    def build(self, compiled: Compiled, start: Callable[[Net], Iterable[Tensor]]) -> Net:
        """Make a graph executable; `start` as in `Net`."""
        given = self.seed, self.workers, compiled.probe, start, self.output_dir, self.computing
        net = self._make(compiled.graph, *given)
        return net.to(self.device)

    def own_weights(self, plan: NetPlan) -> str:
        """The path of the net, where it is a binary file with arrays; else ""."""
        return self._draft(plan.source).weights

    def feeds_itself(self, plan: NetPlan) -> bool:
        """Whether the plan's net has data layers, and none whose data is given by the caller."""
        draft = self._draft(plan.source)
        layers = filter_net(draft, planned_state(draft, plan)).params
        types = [registry()[layer.type] for layer in layers if layer.type in registry()]
        sources = [cls for cls in types if cls.is_source]
        return bool(sources) and all(map(has_feed, sources))
