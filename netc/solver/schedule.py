"""A schedule: training runs one after the other, each by a solver, from the fillers or from what an earlier one learnt.

steps = read_schedule(open_file(path))
chosen(steps, ("D_jitter",))     # that one, and those it comes from
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netc.errors import NetcError, did_you_mean, raise_all
from netc.errors.origin import Origin
from netc.files.paths import candidates
from netc.files.shipped import FOLDER, is_shipped, locate, names
from netc.graph.read import TextFile, open_file
from netc.solver.plans import path_of
from netc.solver.settings import check, prefix


@dataclass(frozen=True, slots=True)
class Step:
    """One training run.

    path, param, origin: its solver. weights_from: the step it starts from, or ""; weights: the file, or "". prefix: of
    its snapshots. alternative: it is run only if asked for. here: its place in the schedule.
    """

    name: str
    path: str
    param: Any
    origin: Origin
    weights_from: str
    weights: str
    alternative: bool
    prefix: Path
    here: Origin

    @property
    def source(self) -> str:
        """Where its weights come from, for a reader."""
        named = [block.weights for block in self.param.transplant_param] + list(self.param.weights)
        return self.weights_from or self.weights or ", ".join(dict.fromkeys(named)) or "its fillers"

    def started_from(self, weights: str) -> tuple[Any, str | None]:
        """Its solver, and the weights to give it, where it starts from the file `weights` ("": as it says itself)."""
        param = type(self.param)()
        param.CopyFrom(self.param)
        for block in param.transplant_param if weights else ():
            block.weights = weights
        return param, None if param.transplant_param or not weights else weights


def read_schedule(file: TextFile) -> list[Step]:
    """The steps of a schedule, in order, their solvers read and checked.

    Raises NetcErrors S210 (no steps, or one without a solver), S211 (names), S212 (a snapshot_prefix of two steps),
    S213 (weights that are not told in one way), S214 (a step without a last snapshot), and those of the solvers; all of
    them at once.
    """
    param, origin = file.schedule()
    if not param.step:
        raise NetcError("S210", "a schedule has at least one step", origin.start, 'write step { solver: "…" }')
    steps: list[Step] = []
    errors: list[NetcError] = []
    for number in range(len(param.step)):
        try:
            steps.append(_step(param.step[number], _part(origin, f"step[{number}]"), file.source.path))
        except NetcError as error:
            errors += error.errors
    raise_all([*errors, *_faults(steps, complete=not errors)])
    return steps


def chosen(steps: Sequence[Step], wanted: Sequence[str]) -> list[Step]:
    """The steps that are wanted and those they come from; without any, all but the alternatives.

    Raises NetcError R712 for a name that no step has.
    """
    by_name = {step.name: step for step in steps}
    for name in wanted:
        if name not in by_name:
            near = did_you_mean(name, by_name)
            raise NetcError("R712", f'the schedule has no step "{name}"{near}', None, f"steps: {', '.join(by_name)}")
    names = list(wanted) or [step.name for step in steps if not step.alternative]
    needed: set[str] = set()
    while names:
        name = names.pop()
        needed.add(name)
        names += [source] if (source := by_name[name].weights_from) else []
    return [step for step in steps if step.name in needed]


def _part(origin: Origin, start: str) -> Origin:
    """The origin of a block of a file."""
    return Origin(lambda: origin.place(start), lambda field: origin.locate(f"{start}.{field}"))


def _step(block: Any, here: Origin, near: str) -> Step:
    if not block.solver:
        raise NetcError("S210", "the step has no solver", here.start, 'write solver: "solver.prototxt"')
    path = _solver(block.solver, near, here)
    opened = open_file(path)
    param, origin = opened.solver()
    check(param, origin)
    run_prefix = prefix(param, path)
    return Step(
        block.name or run_prefix.name,
        path,
        param,
        origin,
        block.weights_from,
        block.weights,
        block.alternative,
        run_prefix,
        here,
    )


def _solver(name: str, near: str, here: Origin) -> str:
    """The solver's file. A bare name in a schedule that comes with netc is of another net that does, whatever stands in
    the working folder, and NAME/FILE one of its files. In other schedules NAME/FILE is so where there is none here."""
    if is_shipped(near) and name in names():
        return str(FOLDER / name / "solver.prototxt")
    others = name.partition("/")[0] in names() and (FOLDER / name).is_file()
    if others and (is_shipped(near) or not any(map(os.path.lexists, candidates(name, near)))):
        return str(FOLDER / name)
    if os.path.splitext(name)[1]:
        return path_of(name, near, here, "solver")
    beside = os.path.join(os.path.dirname(near), name)
    return locate(beside if os.path.isdir(beside) and not os.path.lexists(name) else name, "solver.prototxt")


def _faults(steps: Sequence[Step], complete: bool) -> Iterator[NetcError]:
    """`complete`: whether every step could be read; else it is not known which names there are."""
    before: dict[str, Step] = {}
    prefixes: dict[str, str] = {}
    for step in steps:
        if step.name in before:
            yield NetcError("S211", f'two steps are called "{step.name}"', step.here.place("name"), "name them apart")
        if complete and step.weights_from and step.weights_from not in before:
            near = did_you_mean(step.weights_from, before)
            message = f'no step before "{step.name}" is called "{step.weights_from}"{near}'
            yield NetcError("S211", message, step.here.place("weights_from"), "a step starts from one that is above it")
        own = os.path.abspath(step.prefix)
        if own in prefixes:
            message = f'the steps "{prefixes[own]}" and "{step.name}" would both write {step.prefix}_iter_*'
            hint = "give each solver a snapshot_prefix of its own"
            yield NetcError("S212", message, step.here.place("solver"), hint)
        yield from _sources(step)
        prefixes.setdefault(own, step.name)
        before.setdefault(step.name, step)


def _sources(step: Step) -> Iterator[NetcError]:
    if step.weights_from and step.weights:
        yield NetcError("S213", "weights_from and weights exclude one another", step.here.place("weights"), "keep one")
    files = dict.fromkeys(block.weights for block in step.param.transplant_param)
    if (step.weights_from or step.weights) and len(files) > 1:
        message = f"the step starts from one net, and its solver takes layers from {len(files)}: {', '.join(files)}"
        field = "weights_from" if step.weights_from else "weights"
        yield NetcError("S213", message, step.here.place(field), f"leave {field} out")
    if not step.param.snapshot_after_train:
        place = step.origin.place("snapshot_after_train")
        hint = "take snapshot_after_train: false out of its solver"
        yield NetcError("S214", f'the step "{step.name}" would leave no last snapshot', place, hint)
