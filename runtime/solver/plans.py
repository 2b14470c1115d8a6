"""Which nets a solver names, for which phase, level and stages (solver.cpp: InitTrainNet, InitTestNets). No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from netc import proto
from netc.draft import Draft
from netc.paths import resolve
from netc.runtime.solver.settings import test_net_count

TRAIN, TEST = 0, 1


@dataclass(slots=True)
class Plan:
    """A net to be built: its source (path or NetParameter), what Caffe's log calls it, and the solver's own state."""

    source: Any
    label: str
    phase: int
    state: Any = field(default_factory=lambda: proto.NetState())


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


def in_state(draft: Draft, plan: Plan) -> Draft:
    """A plan's net with its state set: phase by default < the net's own state < the solver's. Stages add up, as in
    Caffe's NetState::MergeFrom."""
    state = proto.NetState(phase=plan.phase)
    state.MergeFrom(draft.param.state)
    state.MergeFrom(plan.state)
    draft.param.state.CopyFrom(state)
    return draft
