"""Which nets a solver names, for which phase, level and stages (solver.cpp: InitTrainNet, InitTestNets). No torch."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from netc import proto
from netc.errors import NetcError, NetcErrors
from netc.errors.origin import Origin
from netc.files.paths import resolve
from netc.files.shipped import is_shipped
from netc.prototxt.draft import Draft
from netc.prototxt.format import quoted
from netc.prototxt.source import MAX_BYTES
from netc.solver.overrides import Override, overridden, overrides
from netc.solver.settings import test_net_count

TRAIN, TEST = 0, 1


@dataclass(slots=True)
class NetPlan:
    """A net to be built: its source (path or NetParameter), what Caffe's log calls it, and the solver's own state and
    settings for it."""

    source: Any
    label: str
    phase: int
    state: Any = field(default_factory=lambda: proto.NetState())
    overrides: list[Override] = field(default_factory=list)

    def draft(self, drafts: Callable[[Any], Draft]) -> Draft:
        """The net as the solver means it; `drafts` reads the source. Raises NetcError R710."""
        return overridden(drafts(self.source), self.overrides, strict=self.phase == TRAIN)


def train_plan(
    param: Any, near: str, level: int = 0, stages: Iterable[str] = (), origin: Origin | None = None
) -> NetPlan:
    """The training net; level and stages are the command line's, laid over train_state. `origin`: of the
    solver's fields, for the place of an error."""
    plan = next(iter(_train_sources(param, near, origin)))
    plan.state.MergeFrom(param.train_state)
    plan.overrides = overrides(param, origin)
    if level:
        plan.state.level = level
    plan.state.stage.extend(stages)
    return plan


def _train_sources(param: Any, near: str, origin: Origin | None) -> Iterable[NetPlan]:
    """In Caffe's order of precedence; settings.check has seen to it that there is exactly one."""
    if param.HasField("train_net_param"):
        yield NetPlan(param.train_net_param, "train_net_param", TRAIN)
    if param.HasField("train_net"):
        yield NetPlan(
            path_of(param.train_net, near, origin, "train_net"),
            f"train_net file: {param.train_net}",
            TRAIN,
        )
    if param.HasField("net_param"):
        yield NetPlan(param.net_param, "net_param", TRAIN)
    if param.HasField("net"):
        yield NetPlan(path_of(param.net, near, origin, "net"), f"net file: {param.net}", TRAIN)


def path_of(name: str, near: str, origin: Origin | None, field: str) -> str:
    """The file that a solver or schedule names. Raises NetcError F120 where there is none, F122 where there are two
    that differ."""
    place = origin.place(field) if origin is not None else None
    found = resolve(name, near, place=place)
    beside = os.path.join(os.path.dirname(near), name)
    if name.startswith("./") or not os.path.isfile(beside) or _alike(found, beside):
        return found
    if is_shipped(near):
        return beside
    message = f'"{name}" may be {os.path.abspath(found)} or {os.path.abspath(beside)}, and they differ'
    hint = f"write {os.path.relpath(beside)} for the one beside the solver, ./{name} for the one in the working folder"
    raise NetcError("F122", message, place, hint)


def _alike(one: str, other: str) -> bool:
    """Whether two names are of one file, or of two with the same text. What is longer than any text is not compared."""
    if os.path.samefile(one, other):
        return True
    short = os.path.getsize(one) == os.path.getsize(other) <= MAX_BYTES
    return short and filecmp.cmp(one, other, shallow=False)


def test_plans(param: Any, near: str, origin: Origin | None) -> list[NetPlan]:
    """The test nets in Caffe's order: test_net_param, test_net, then instances of the net shared with training."""
    plans = [NetPlan(net, "test_net_param", TEST) for net in param.test_net_param]
    for number, name in enumerate(param.test_net):
        path = path_of(name, near, origin, f"test_net[{number}]")
        plans.append(NetPlan(path, f"test_net file: {name}", TEST))
    while len(plans) < test_net_count(param):
        own = param.HasField("net_param")
        shared = param.net_param if own else path_of(param.net, near, origin, "net")
        plans.append(NetPlan(shared, "net_param" if own else f"net file: {param.net}", TEST))
    for plan, state in zip(plans, param.test_state):
        plan.state.MergeFrom(state)
    for plan in plans:
        plan.overrides = overrides(param, origin)
    return plans


def planned_state(draft: Draft, plan: NetPlan) -> Any:
    """The NetState of a plan's net: phase by default < the net's own state < the solver's. Stages add up, as in
    Caffe's NetState::MergeFrom."""
    state = proto.NetState(phase=plan.phase)
    state.MergeFrom(draft.param.state)
    state.MergeFrom(plan.state)
    return state


def of_test_net(error: NetcError, number: int, plan: NetPlan, trained: NetPlan) -> NetcErrors:
    """What is wrong in a test net, as errors that say which net it is, and what its state lacks of the training net's:
    `--stage` and `--level` reach the training net only, as in Caffe."""
    lacking = lacks(plan, trained)
    return NetcErrors(_of_test_net(one, f"test net #{number}", lacking) for one in error.errors)


def lacks(plan: NetPlan, trained: NetPlan) -> str:
    """The fields of a test_state that would give a test net the stages and level of the training net; "" for none."""
    stages = [stage for stage in trained.state.stage if stage not in plan.state.stage]
    level = [f"level: {trained.state.level}"] if trained.state.level != plan.state.level else []
    return " ".join([*level, *(f"stage: {quoted(stage)}" for stage in stages)])


def _of_test_net(error: NetcError, name: str, lacking: str) -> NetcError:
    hint = error.hint
    if lacking and error.code.startswith("G"):
        state = f"test_state {{ {lacking} }}"
        hint = f"the training net's stages and level are not the test net's, as in Caffe: add {state} to the solver"
        hint += f"; or {error.hint}" if error.hint else ""
    return NetcError(error.code, f"{name}: {error.message}", error.place, hint, error.related)
