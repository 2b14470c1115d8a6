"""The nets of a solver: which files, for which phase, level and stages, and with which data (solver.cpp: InitTrainNet,
InitTestNets)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netc import proto
from netc.compile import compile_draft, draft_net
from netc.draft import Draft
from netc.filter import NAMES
from netc.ir import Graph
from netc.paths import resolve
from netc.runtime.net import Net
from netc.runtime.solver.inputs import Inputs
from netc.runtime.solver.settings import test_net_count

if TYPE_CHECKING:
    from netc.layers.base import Probe

TRAIN, TEST = 0, 1


@dataclass(slots=True)
class Plan:
    """A net to be built: its source (path or NetParameter), what Caffe's log calls it, and the solver's own state."""

    source: Any
    label: str
    phase: int
    state: Any = field(default_factory=lambda: proto.NetState())


@dataclass(slots=True)
class FedNet:
    """A net together with what feeds its data layers."""

    net: Net
    inputs: Inputs


def train_plan(param: Any, near: str, level: int = 0, stages: Iterable[str] = ()) -> Plan:
    """The training net; level and stages are the command line's, laid over train_state."""
    plan = next(iter(_train_sources(param, near)))
    plan.state.MergeFrom(param.train_state)
    if level:
        plan.state.level = level
    plan.state.stage.extend(stages)
    return plan


def _train_sources(param: Any, near: str) -> Iterable[Plan]:
    """In Caffe's order of precedence; settings.check has seen to it that there is exactly one."""
    if param.HasField("train_net_param"):
        yield Plan(param.train_net_param, "train_net_param", TRAIN)
    if param.HasField("train_net"):
        yield Plan(resolve(param.train_net, near), f"train_net file: {param.train_net}", TRAIN)
    if param.HasField("net_param"):
        yield Plan(param.net_param, "net_param", TRAIN)
    if param.HasField("net"):
        yield Plan(resolve(param.net, near), f"net file: {param.net}", TRAIN)


def test_plans(param: Any, near: str) -> list[Plan]:
    """The test nets in Caffe's order: test_net_param, test_net, then instances of the net shared with training."""
    plans = [Plan(net, "test_net_param", TEST) for net in param.test_net_param]
    plans += [Plan(resolve(path, near), f"test_net file: {path}", TEST) for path in param.test_net]
    while len(plans) < test_net_count(param):
        shared = param.net_param if param.HasField("net_param") else resolve(param.net, near)
        plans.append(Plan(shared, "net_param" if param.HasField("net_param") else f"net file: {param.net}", TEST))
    for plan, state in zip(plans, param.test_state):
        plan.state.MergeFrom(state)
    return plans


class Builder:
    """Compiles plans, reading each file once however many nets come from it."""

    def __init__(self, seed: int, device: str, workers: int | None) -> None:
        self.seed, self.device, self.workers = seed, device, workers
        self._drafts: dict[str, Draft] = {}

    def graph(self, plan: Plan) -> Graph:
        """Phase by default < the net's own state < the solver's; Caffe's NetState::MergeFrom adds up the stages."""
        draft = self._draft(plan.source)
        state = proto.NetState(phase=plan.phase)
        state.MergeFrom(draft.param.state)
        state.MergeFrom(plan.state)
        draft.param.state.CopyFrom(state)
        return compile_draft(draft, probe_near(draft.path))

    def _draft(self, source: Any) -> Draft:
        if not isinstance(source, str):
            return draft_net(source)
        if source not in self._drafts:
            self._drafts[source] = draft_net(source)
        return self._drafts[source].copy()

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

    def probe(layer: Any, phase: int) -> Any:
        from netc.runtime.data import probe as look

        return look(layer, phase, path)

    return probe


def describe(graph: Graph) -> str:
    return f'net "{graph.name}" ({NAMES[graph.phase]})' if graph.name else f"the {NAMES[graph.phase]} net"
