"""Two files compared by what they mean: nets phase by phase, solvers with or without their nets.

compare_files(first, second, asked) -> Comparison
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from netc.check.examine import phases_of
from netc.check.probe import Probe, Told
from netc.errors import NetcError, Place
from netc.errors.origin import Origin
from netc.graph.compile import compile_layers
from netc.graph.filter import NAMES, Layers, filter_net, state_of
from netc.graph.ir import Graph
from netc.graph.read import Drafts, open_file
from netc.look.diff.compare import NETS, FieldChange, NetDiff, compare_nets, compare_solvers
from netc.prototxt.draft import Draft
from netc.solver.plans import planned_state, test_plans, train_plan


@dataclass(slots=True)
class Comparison:
    """`fields`: of two solvers; `nets`: one for each phase that was compared. `notes`: what to know beside it."""

    paths: tuple[str, str]
    kind: str
    fields: list[FieldChange] = field(default_factory=list)
    nets: list[NetDiff] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not self.fields and all(net.same for net in self.nets)


@dataclass(frozen=True, slots=True)
class Asked:
    """What to compare: a phase (None: those that both files have), level and stages; `nets`: those of two solvers."""

    phase: str | None
    level: int
    stages: list[str]
    nets: bool
    told: Told


def compare_files(first: str, second: str, request: Asked) -> Comparison:
    """Compare what two files mean. Raises NetcError C150 (a net and a solver), and those of reading the files."""
    one, two = _read(first), _read(second)
    kinds = [isinstance(read, tuple) for read in (one, two)]
    if kinds[0] != kinds[1]:
        said = ["a solver" if solver else "a net" for solver in kinds]
        message = f"{first} is {said[0]}, {second} {said[1]}"
        raise NetcError("C150", message, Place(second), "compare two nets, or two solvers")
    if isinstance(one, tuple) and isinstance(two, tuple):
        return _solvers((first, second), one, two, request)
    found = Comparison((first, second), "net")
    _nets(found, one, two, request)
    return found


def _read(path: str) -> Draft | tuple[Any, Origin]:
    """A net's draft, or a solver and its origin; text or binary, of any format."""
    opened = open_file(path)
    return opened.solver() if opened.kind == "solver" else opened.draft()


# -- nets --------------------------------------------------------------------------------------------------------------


def _nets(found: Comparison, one: Any, two: Any, request: Asked) -> None:
    for phase in _phases(found, one, two, request):
        states = [state_of(draft, NAMES.index(phase), request.level, request.stages) for draft in (one, two)]
        _pair(found, filter_net(one, states[0]), filter_net(two, states[1]), phase, request.told)


def _phases(found: Comparison, one: Any, two: Any, request: Asked) -> list[str]:
    if request.phase:
        return [request.phase]
    phases = [phases_of(draft) for draft in (one, two)]
    if phases[0] != phases[1]:
        trains = found.paths[0 if len(phases[0]) > 1 else 1]
        found.notes.append(f"only {trains} is for training: compared in the TEST phase")
    return [NAMES[phase] for phase in phases[0] if phase in phases[1]]


def _pair(found: Comparison, one: Layers, two: Layers, phase: str, told: Told) -> None:
    found.nets.append(compare_nets(one, two, phase, _graphs(found, one, two, told)))


def _graphs(found: Comparison, one: Layers, two: Layers, told: Told) -> tuple[Graph, Graph] | None:
    """Both nets compiled, or None and a note: the settings can be compared all the same."""
    graphs = []
    for layers in (one, two):
        try:
            graphs.append(compile_layers(layers, Probe(layers.draft.path, told)))
        except NetcError as error:
            place = f"{error.place}: " if error.place else ""
            hint = f" ({error.hint})" if error.code == "F120" else ""
            note = f"shapes and parameters are not compared: {place}{error.message}{hint}"
            found.notes += [] if note in found.notes else [note]
            return None
    return graphs[0], graphs[1]


# -- solvers -----------------------------------------------------------------------------------------------------------


def _solvers(paths: tuple[str, str], one: Any, two: Any, request: Asked) -> Comparison:
    found = Comparison(paths, "solver", compare_solvers(one, two, NETS if request.nets else ()))
    if not request.nets:
        return found
    drafts = Drafts()
    plans = [_plans(param, path, origin) for (param, origin), path in zip((one, two), paths, strict=True)]
    for mine, theirs in zip(*plans):
        _planned(found, drafts, mine, theirs, request.told)
    if len(plans[0]) != len(plans[1]):
        found.notes.append(f"{len(plans[0]) - 1} and {len(plans[1]) - 1} test nets: the rest is not compared")
    return found


def _plans(param: Any, path: str, origin: Origin) -> list[Any]:
    return [train_plan(param, path, origin=origin), *test_plans(param, path, origin)]


def _planned(found: Comparison, drafts: Any, mine: Any, theirs: Any, told: Told) -> None:
    one, two = (filter_net(draft := plan.draft(drafts), planned_state(draft, plan)) for plan in (mine, theirs))
    _pair(found, one, two, NAMES[mine.phase], told)
