"""`netc diff`: what differs in meaning between two nets, or two solvers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import json_option, shape_option, split
from netc.cli._status import DONE, FAILED
from netc.errors import NetcError, Place

if TYPE_CHECKING:
    from netc.check.probe import Told
    from netc.errors.origin import Origin
    from netc.graph.filter import Layers
    from netc.graph.ir import Graph
    from netc.look.diff import FieldChange, NetDiff
    from netc.prototxt.draft import Draft


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


@click.command("diff", short_help="Compare two nets or solvers by what they mean.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--phase",
    type=click.Choice(["TRAIN", "TEST"], case_sensitive=False),
    help="The phase to compare (default: those that both files have).",
)
@click.option("--level", default=0, metavar="N", help="The level to compare.")
@click.option("--stage", "stages", multiple=True, metavar="NAMES", help="Stages to compare, with commas or repeated.")
@click.option("--nets", is_flag=True, help="Of two solvers, compare their nets too.")
@shape_option()
@json_option
def command(
    first: str,
    second: str,
    phase: str | None,
    level: int,
    stages: tuple[str, ...],
    nets: bool,
    told: Told,
    as_json: bool,
) -> int:
    """Tell what differs in meaning between two nets or two solvers, of any format.

    Layers are compared by name, then by what they do; blob names, defaults that are written out, and layers that could
    stand in another order make no difference. Exit status: 0 the same, 1 different.
    """
    from netc.cli._diff_report import as_dict, lines
    from netc.files.shipped import locate

    names = [name for given in stages for name in split(given)]
    request = _Request(phase.upper() if phase else None, level, names, nets, told)
    found = _compare(locate(first, "train_val.prototxt"), locate(second, "train_val.prototxt"), request)
    if as_json:
        import json

        click.echo(json.dumps(as_dict(found), indent=2))
    else:
        click.echo("\n".join(lines(found)))
    return DONE if found.same else FAILED


@dataclass(frozen=True, slots=True)
class _Request:
    phase: str | None
    level: int
    stages: list[str]
    nets: bool
    told: Told


def _compare(first: str, second: str, request: _Request) -> Comparison:
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
    from netc.graph.read import open_file

    opened = open_file(path)
    return opened.solver() if opened.kind == "solver" else opened.draft()


# -- nets --------------------------------------------------------------------------------------------------------------


def _nets(found: Comparison, one: Any, two: Any, request: _Request) -> None:
    from netc.graph.filter import NAMES, filter_net, state_of

    for phase in _phases(found, one, two, request):
        states = [state_of(draft, NAMES.index(phase), request.level, request.stages) for draft in (one, two)]
        _pair(found, filter_net(one, states[0]), filter_net(two, states[1]), phase, request.told)


def _phases(found: Comparison, one: Any, two: Any, request: _Request) -> list[str]:
    from netc.check.examine import phases_of
    from netc.graph.filter import NAMES

    if request.phase:
        return [request.phase]
    phases = [phases_of(draft) for draft in (one, two)]
    if phases[0] != phases[1]:
        trains = found.paths[0 if len(phases[0]) > 1 else 1]
        found.notes.append(f"only {trains} is for training: compared in the TEST phase")
    return [NAMES[phase] for phase in phases[0] if phase in phases[1]]


def _pair(found: Comparison, one: Layers, two: Layers, phase: str, told: Told) -> None:
    from netc.look.diff import compare_nets

    found.nets.append(compare_nets(one, two, phase, _graphs(found, one, two, told)))


def _graphs(found: Comparison, one: Layers, two: Layers, told: Told) -> tuple[Graph, Graph] | None:
    """Both nets compiled, or None and a note: the settings can be compared all the same."""
    from netc.check.probe import Probe
    from netc.graph.compile import compile_layers

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


def _solvers(paths: tuple[str, str], one: Any, two: Any, request: _Request) -> Comparison:
    from netc.graph.read import Drafts
    from netc.look.diff import NETS, compare_solvers

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
    from netc.solver.plans import test_plans, train_plan

    return [train_plan(param, path, origin=origin), *test_plans(param, path, origin)]


def _planned(found: Comparison, drafts: Any, mine: Any, theirs: Any, told: Told) -> None:
    from netc.graph.filter import NAMES, filter_net
    from netc.solver.plans import planned_state

    one, two = (filter_net(draft := drafts(plan.source), planned_state(draft, plan)) for plan in (mine, theirs))
    _pair(found, one, two, NAMES[mine.phase], told)
