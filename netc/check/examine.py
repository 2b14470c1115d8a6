"""Every check that netc can make of nets and solvers without running them, collected rather than raised.

check(path) -> Report     a net: its phases; a solver: its settings and all of its nets. `netc.check` is this function.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netc.check.advice import TRAIN, Advice, advise, compare, look, solver_remarks
from netc.check.advice.pairs import mismatches
from netc.check.analyse import analyse
from netc.check.facts import facts
from netc.check.probe import Probe, Told
from netc.check.report import Net, Report
from netc.errors import NetcError, did_you_mean, raise_all
from netc.errors.foreign import allowing
from netc.errors.origin import Origin
from netc.files.paths import resolve
from netc.files.shipped import locate
from netc.graph.compile import compile_layers
from netc.graph.filter import NAMES, Layers, filter_net, phase_number, state_of
from netc.graph.read import TextFile, open_file
from netc.layers import registry
from netc.layers.base import Shape
from netc.prototxt.draft import Draft
from netc.solver.overrides import check_overridden
from netc.solver.plans import NetPlan, lacks, of_test_net, planned_state, test_plans, train_plan
from netc.solver.schedule import read_schedule
from netc.solver.settings import check as check_settings
from netc.solver.tables import read_table

TEST = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for: phases (none: those that make sense for the file), level, stages; what he told."""

    phases: tuple[int, ...] = ()
    level: int = 0
    stages: tuple[str, ...] = ()
    told: Told = field(default_factory=Told)


def check(
    path: str | os.PathLike[str],
    phase: str | None = None,
    level: int = 0,
    stages: Iterable[str] = (),
    shapes: Mapping[str, Shape] | None = None,
    allow_python_layers: Iterable[str] = (),
) -> Report:
    """Everything that can be said of a net or solver without running it: what `netc check` prints, as an object.

    Args:
        path: a file, text or binary, of any format; or the name of a net that comes with netc.
        phase: "TRAIN" or "TEST"; by default those that make sense for the file. level, stages: to build for.
        shapes: (channels, height, width) of the images that data layers read, by top, or "" for all of them.
        allow_python_layers: modules whose Python layers may run.
    Raises NetcError F103 for a name that is neither; every other error is in the report.
    """
    phases = () if phase is None else (phase_number(phase),)
    request = Request(phases, level, tuple(stages), Told(dict(shapes or {})))
    with allowing(allow_python_layers):
        return examine(locate(path, "solver.prototxt"), request)


def examine(path: str, request: Request) -> Report:
    """Check the net or solver in a file."""
    report = Report(path, "net", told=request.told)
    report.collect(lambda: _examine(report, request))
    return report


def examine_named(name: str, request: Request) -> Report:
    """The same for a file, a folder or the name of a net that comes with netc; a name that is neither is an error of
    the report too, so that one wrong name among several hides nothing of the others."""
    try:
        path = locate(name, "solver.prototxt")
    except NetcError as error:
        return Report(name, "net", errors=[error], told=request.told)
    return examine(path, request)


def _examine(report: Report, request: Request) -> None:
    opened = open_file(report.path)
    report.kind = opened.kind
    if isinstance(opened, TextFile) and opened.kind == "schedule":
        _schedule(report, opened, request)
    elif isinstance(opened, TextFile) and opened.kind == "table":
        report.rows = list(read_table(opened).lines())
    elif opened.kind == "solver":
        _solver(report, *opened.solver(), request)
    else:
        _net(report, opened.draft(), request)


# -- nets --------------------------------------------------------------------------------------------------------------


def _net(report: Report, draft: Draft, request: Request) -> None:
    for phase in request.phases or phases_of(draft):
        state = state_of(draft, phase, request.level, request.stages)
        report.collect(lambda state=state, label=NAMES[phase]: _build(report, draft, state, label))  # type: ignore[misc]


def phases_of(draft: Draft) -> tuple[int, ...]:
    """TEST alone where nothing in the file speaks of training; else those in which it has data. A net without a loss is
    for training only if a source says so: a deploy net's layers may name the phase TEST, too."""
    types = registry()
    if any(layer.type in types and types[layer.type].is_loss for layer in draft.param.layer):
        return tuple(_fed(draft)) or (TRAIN, TEST)
    return tuple(_fed(draft, by_rule=True)) or (TEST,)


def _fed(draft: Draft, by_rule: bool = False) -> Iterator[int]:
    """The phases in which something gives the net its data: a .caffemodel that training wrote has none for TEST.
    `by_rule`: only sources with rules of their own count."""
    types = registry()
    for phase in (TRAIN, TEST):
        part = filter_net(draft, state_of(draft, phase))
        sources = [layer for layer in part.params if layer.type in types and types[layer.type].is_source]
        if any(layer.include or layer.exclude or not by_rule for layer in sources):
            yield phase


def speaks_of_phases(draft: Draft) -> bool:
    """Whether some layers belong to one phase only: a file without such is one phase's, the other is nobody's."""
    return any(layer.include or layer.exclude for layer in draft.param.layer)


def _build(
    report: Report, draft: Draft, state: Any, label: str, initialised: bool = False, test_iter: int | None = None
) -> None:
    probe = Probe(draft.path, report.told)
    report.remark(draft.remarks)
    layers = filter_net(draft, state)
    try:
        graph = compile_layers(layers, probe)
    except NetcError as error:
        if {one.code for one in error.errors} == {"G402"}:
            report.collect(lambda: compile_layers(connected_part(layers), probe))
        raise
    found = Net(label, analyse(graph), probe.notes, facts(graph))
    report.nets.append(found)
    report.remark([*advise(graph, initialised), *look(graph, found.facts, test_iter)])
    trained = report.nets[0].analysis.graph
    if graph.phase == TEST and trained.phase == TRAIN and (report.solver is not None or speaks_of_phases(draft)):
        report.remark(compare(trained, graph))
        report.collect(lambda: raise_all(list(mismatches(trained, graph))))


def connected_part(layers: Layers) -> Layers:
    """The net without the layers that hang on a bottom nobody produces: a fault there hides no others."""
    known: set[str] = set()
    keep = []
    for layer in layers.params:
        keep.append(known.issuperset(layer.bottom))
        known.update(layer.top if keep[-1] else ())
    return layers.keep(keep)


# -- solvers -----------------------------------------------------------------------------------------------------------


def _solver(report: Report, param: Any, origin: Origin, request: Request) -> None:
    report.solver = param
    report.remark(solver_remarks(param, origin))
    report.collect(lambda: check_settings(param, origin))
    if any(error.code == "R610" for error in report.errors):  # which net is meant is not known
        return
    wanted = request.phases or (TRAIN, TEST)

    def trained() -> NetPlan:
        return train_plan(param, report.path, request.level, request.stages, origin)

    if TRAIN in wanted:
        report.collect(lambda: _plan(report, trained(), "TRAIN"))
    if TEST in wanted:
        report.collect(lambda: _tests(report, test_plans(param, report.path, origin), trained()))
    report.remark(transplant_advice(report, param, origin))


def _schedule(report: Report, file: TextFile, request: Request) -> None:
    """Each step as a solver that is given its weights."""
    for step in read_schedule(file):
        found = Report(step.path, "solver", given=step.weights_from or step.weights, told=request.told)
        found.collect(lambda step=step, found=found: _solver(found, step.param, step.origin, request))  # type: ignore[misc]
        found.solver, _ = step.started_from(found.given)
        report.steps.append((f"{step.name}: {step.path}, starts from {step.source}", found))
        report.errors += [error for error in found.errors if str(error) not in {str(one) for one in report.errors}]
        report.remark(found.advice)


def _tests(report: Report, plans: Sequence[NetPlan], trained: NetPlan) -> None:
    for number, plan in enumerate(plans):
        label = f"TEST #{number}" if len(plans) > 1 else "TEST"
        count = report.solver.test_iter[number] if number < len(report.solver.test_iter) else None
        try:
            _plan(report, plan, label, count)
        except NetcError as error:  # what is wrong in the training net, too, is told once
            told = of_test_net(error, number, plan, trained) if lacks(plan, trained) else error
            report.collect(lambda told=told: raise_all(told.errors))  # type: ignore[misc]


def _plan(report: Report, plan: Any, label: str, test_iter: int | None = None) -> None:
    draft = plan.draft(report.draft)
    initialised = bool(report.given or report.solver.weights or report.solver.transplant_param)
    known = len(report.nets)
    _build(report, draft, planned_state(draft, plan), label, initialised, test_iter)
    for net in report.nets[known:]:
        check_overridden(net.analysis.graph, plan.overrides)


def transplant_advice(report: Report, param: Any, origin: Origin) -> Iterator[Advice]:
    """Weights that are not here yet, and layers that the net does not have."""
    layers = {row.node.name for net in report.nets[:1] for row in net.analysis.rows}
    for number, transplant in enumerate(param.transplant_param):
        at = f"transplant_param[{number}]"
        try:
            if not report.given:
                resolve(transplant.weights, report.path, "weights")
        except NetcError as error:
            yield Advice(
                "A870", f"these weights are not here: {error.message}", origin.place(f"{at}.weights"), error.hint
            )
        for position, copy in enumerate(transplant.copy):
            if layers and copy.layer not in layers:
                place = origin.place(f"{at}.copy[{position}].layer")
                near = did_you_mean(copy.layer, layers)
                yield Advice("A871", f'the net has no layer "{copy.layer}"{near}', place)
