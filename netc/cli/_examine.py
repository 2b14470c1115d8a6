"""Every check that netc can make of nets and solvers without running them, collected rather than raised.

examine(path, request) -> Report     a net: its phases; a solver: its settings and all of its nets
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from netc.advise import TRAIN, Advice, advise
from netc.analyse import Analysis, analyse
from netc.compile import (
    Drafts,
    binary_draft,
    binary_solver,
    compile_draft,
    compile_layers,
    draft_of,
    is_solver,
    open_source,
    solver_of,
)
from netc.draft import Draft, Layers
from netc.errors import NetcError, Place
from netc.filter import NAMES, filter_net, set_state
from netc.layers import registry
from netc.layers.base import Origin, Shape, format_shape
from netc.prototxt import Source, parse

TEST = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for: phases (none: those that make sense for the file), level, stages."""

    phases: tuple[int, ...] = ()
    level: int = 0
    stages: tuple[str, ...] = ()


@dataclass(slots=True)
class Net:
    """One net for one phase. `notes`: what had to be assumed."""

    label: str
    analysis: Analysis
    notes: list[str]


@dataclass(slots=True)
class Report:
    """All that was found about one file."""

    path: str
    kind: str
    solver: Any = None
    nets: list[Net] = field(default_factory=list)
    errors: list[NetcError] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    draft: Drafts = field(default_factory=Drafts)

    def collect(self, step: Callable[[], object]) -> None:
        """Run a step; what it raises is noted, each error once."""
        try:
            step()
        except NetcError as error:
            known = {str(one) for one in self.errors}
            self.errors += [one for one in error.errors if str(one) not in known]


def examine(path: str, request: Request) -> Report:
    """Check the net or solver in a file."""
    report = Report(path, "net")
    report.collect(lambda: _examine(report, request))
    return report


def _examine(report: Report, request: Request) -> None:
    opened = open_source(report.path)
    if isinstance(opened, Source):
        _text(report, opened, request)
    elif opened.kind == "solver":
        report.kind = "solver"
        _solver(report, *binary_solver(opened), request)
    else:
        _net(report, binary_draft(opened), request)


def _text(report: Report, text: Source, request: Request) -> None:
    tree = parse(text)
    if is_solver(tree):
        report.kind = "solver"
        _solver(report, *solver_of(text, tree), request)
    else:
        _net(report, draft_of(text, tree), request)


# -- nets --------------------------------------------------------------------------------------------------------------


def _net(report: Report, draft: Draft, request: Request) -> None:
    for phase in request.phases or _phases(draft):
        one = set_state(draft.copy(), phase, request.level, request.stages)
        report.collect(lambda one=one, label=NAMES[phase]: _build(report, one, label))  # type: ignore[misc]


def _phases(draft: Draft) -> tuple[int, ...]:
    """Both, or TEST alone where nothing in the file speaks of training."""
    types = registry()
    trains = any(
        layer.include or layer.exclude or (layer.type in types and types[layer.type].is_loss)
        for layer in draft.param.layer
    )
    return (TRAIN, TEST) if trains else (TEST,)


def _build(report: Report, draft: Draft, label: str, initialised: bool = False) -> None:
    probe = Probe(draft.path)
    _remark(report, draft.remarks)
    try:
        graph = compile_draft(draft.copy(), probe)
    except NetcError as error:
        if {one.code for one in error.errors} == {"G402"}:
            report.collect(lambda: compile_layers(connected_part(draft), probe))
        raise
    report.nets.append(Net(label, analyse(graph), probe.notes))
    _remark(report, advise(graph, initialised))


def _remark(report: Report, remarks: Sequence[Advice]) -> None:
    known = {str(remark) for remark in report.advice}
    report.advice += [remark for remark in remarks if str(remark) not in known]


def connected_part(draft: Draft) -> Layers:
    """The net without the layers that hang on a bottom nobody produces: a fault there hides no others."""
    part = filter_net(draft.copy())
    known: set[str] = set()
    keep = []
    for layer in part.params:
        keep.append(known.issuperset(layer.bottom))
        known.update(layer.top if keep[-1] else ())
    part.keep(keep)
    return part


class Probe:
    """Shapes of a data layer from its first record or, where its data are not here, from its settings."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.notes: list[str] = []

    def __call__(self, layer: Any, phase: int) -> Sequence[Shape]:
        from netc.paths import resolve
        from netc.runtime.data import can_probe, probe

        if not can_probe(layer):
            return registry()[layer.type](layer, phase).setup([])
        options = getattr(layer, registry()[layer.type].param_field or "")
        try:
            resolve(options.source, self.path, "database" if layer.type == "Data" else "list")
        except NetcError as missing:
            return self._assumed(layer, phase, missing)
        return probe(layer, phase, self.path)

    def _assumed(self, layer: Any, phase: int, missing: NetcError) -> Sequence[Shape]:
        try:
            shapes = registry()[layer.type](layer, phase).setup([])
        except NetcError:
            raise missing from None
        image = format_shape(tuple(shapes[0][1:]))
        self.notes.append(f'the data of layer "{layer.name}" are not here: its images are taken to be {image}')
        return shapes


# -- solvers -----------------------------------------------------------------------------------------------------------


def _solver(report: Report, param: Any, origin: Origin, request: Request) -> None:
    from netc.runtime.solver.plans import test_plans, train_plan
    from netc.runtime.solver.settings import check, warnings

    report.solver = param
    report.advice += [Advice(message, Place(report.path)) for message in warnings(param)]
    report.collect(lambda: check(param, origin))
    if any(error.code == "R610" for error in report.errors):  # which net is meant is not known
        return
    wanted = request.phases or (TRAIN, TEST)
    if TRAIN in wanted:
        report.collect(lambda: _plan(report, train_plan(param, report.path, request.level, request.stages), "TRAIN"))
    if TEST in wanted:
        report.collect(lambda: _tests(report, test_plans(param, report.path)))
    report.advice += transplant_advice(report, param, origin)


def _tests(report: Report, plans: Sequence[Any]) -> None:
    for number, plan in enumerate(plans):
        label = f"TEST #{number}" if len(plans) > 1 else "TEST"
        report.collect(lambda plan=plan, label=label: _plan(report, plan, label))  # type: ignore[misc]


def _plan(report: Report, plan: Any, label: str) -> None:
    from netc.runtime.solver.plans import in_state

    draft = in_state(report.draft(plan.source), plan)
    initialised = bool(report.solver.weights or report.solver.transplant_param)
    _build(report, draft, label, initialised)


def transplant_advice(report: Report, param: Any, origin: Origin) -> Iterator[Advice]:
    """Weights that are not here yet, and layers that the net does not have."""
    from netc.paths import resolve

    layers = {row.node.name for net in report.nets[:1] for row in net.analysis.rows}
    for number, transplant in enumerate(param.transplant_param):
        at = f"transplant_param[{number}]"
        try:
            resolve(transplant.weights, report.path, "weights")
        except NetcError as error:
            yield Advice(f"these weights are not here: {error.message}", origin.place(f"{at}.weights"), error.hint)
        for position, copy in enumerate(transplant.copy):
            if layers and copy.layer not in layers:
                place = origin.place(f"{at}.copy[{position}].layer")
                yield Advice(f'the net has no layer "{copy.layer}"', place)
