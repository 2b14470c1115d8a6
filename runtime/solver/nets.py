"""The nets of a solver: which files, for which phase, level and stages, and with which data (solver.cpp: InitTrainNet,
InitTestNets)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netc.errors import Place
from netc.errors.origin import Origin
from netc.graph.compile import compile_draft
from netc.graph.filter import filter_net
from netc.graph.ir import Graph
from netc.graph.read import Drafts
from netc.layers import registry
from netc.runtime.data import has_feed
from netc.runtime.net.module import Net
from netc.runtime.solver.inputs import Inputs
from netc.solver.plans import NetPlan, planned_state

if TYPE_CHECKING:
    from netc.layers.base import Probe


@dataclass(slots=True)
class FedNet:
    """A net together with what feeds its data layers."""

    net: Net
    inputs: Inputs


class Builder:
    """Compiles plans, reading each file once however many nets come from it."""

    def __init__(self, seed: int, device: str, workers: int | None) -> None:
        self.seed, self.device, self.workers = seed, device, workers
        self._draft = Drafts()

    def graph(self, plan: NetPlan) -> Graph:
        draft = self._draft(plan.source)
        return compile_draft(draft, planned_state(draft, plan), probe_near(draft.path))

    def feeds_itself(self, plan: NetPlan) -> bool:
        """Whether the plan's net has data layers, and none whose data is given by the caller."""
        draft = self._draft(plan.source)
        layers = filter_net(draft, planned_state(draft, plan)).params
        types = [registry()[layer.type] for layer in layers if layer.type in registry()]
        sources = [cls for cls in types if cls.is_source]
        return bool(sources) and all(map(has_feed, sources))

    def build(self, graph: Graph, unfilled: Iterable[str] = (), share: Net | None = None) -> FedNet:
        """Make a graph executable. `unfilled` layers are about to be overwritten; `share` lends its parameters."""
        names = {*unfilled, *(share.params if share is not None else ())}
        net = Net(graph, self.seed, unfilled=names).to(self.device)
        if share is not None:
            net.share_from(share)
        inputs = Inputs(graph, self.seed, self.workers, self.device)
        net.feeds = inputs
        return FedNet(net, inputs)


def probe_near(path: str) -> Probe:
    """Finds a data layer's shapes by its first record; paths are tried near the net's file too."""

    def probe(param: Any, phase: int) -> Any:
        from netc.runtime.data import can_probe, open_feed
        from netc.runtime.data import probe as look

        if can_probe(param):
            return look(param, phase, path)
        return open_feed(registry()[param.type](param, phase, Origin(Place(path))), phase, 0).shapes

    return probe
