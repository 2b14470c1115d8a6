"""`netc train SCHEDULE`: the steps that are not done, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import click

from netc.cli._status import DONE
from netc.errors import NetcError, printable_lines

if TYPE_CHECKING:
    from netc.graph.read import TextFile
    from netc.runtime.parallel.group import Group
    from netc.runtime.solver.schedule import Standing
    from netc.solver.schedule import Step

Start = Callable[[Any, dict[str, Any], "Callable[[str, Group], int]"], int]
"""Calls something in the processes that a solver and the options ask for."""
Run = Callable[..., int]
"""Trains one solver: param, origin, device, group, options."""

STANDALONE = ("weights", "snapshot", "force")
"""Options that say how one run starts."""


def train_schedule(opened: TextFile, options: dict[str, Any], start: Start, run: Run) -> int:
    """Run a schedule, or show how far it has come. Returns the exit status of the last run."""
    from netc.solver.schedule import chosen, read_schedule

    if any(options[name] for name in STANDALONE):
        listed = ", ".join(f"--{name}" for name in STANDALONE)
        raise click.UsageError(f"the steps of a schedule say what they start from: without {listed}")
    every = read_schedule(opened)
    for step in every if options["iterations"] is not None else ():
        step.param.max_iter = options["iterations"]
    steps = chosen(every, options["step"])
    others = [step for step in every if step not in steps]
    if not options["dry_run"]:
        return start(steps[0].param, options, partial(_run, steps, others, options, run))
    from netc.runtime.solver.schedule import lines, standings

    found = standings(steps, options["seed"])
    click.echo(printable_lines("\n".join(lines(steps, found, others))))
    _files(steps, found)
    return DONE


def _run(
    steps: Sequence[Step], others: Sequence[Step], options: dict[str, Any], run: Run, device: str, group: Group
) -> int:
    """Every step that is not done, until one does not end well; the table before each, and at the end."""
    from netc.runtime.solver.log import nowhere, stderr
    from netc.runtime.solver.schedule import lines

    log = stderr() if group.first else nowhere()
    found = _standings(steps, options["seed"], group)
    files = _files(steps, found)
    for step in steps:
        if found[step.name].done:
            continue
        log.info("caffe.cpp:212", "\n".join(lines(steps, found, others)))
        log.info("caffe.cpp:212", f'Step "{step.name}" of the schedule: {step.path}')
        source = found.get(step.weights_from)
        if source is not None and not source.done:
            message = (
                f'the step "{step.name}" starts from "{source.name}", which has ended without a whole last snapshot'
            )
            raise NetcError("O631", message, step.here.place("weights_from"), "start the schedule again")
        param, given = step.started_from(source.weights if source else files.get(step.name, ""))
        own = {"weights": given, "resume": "auto", "start": source.sha256 if source else ""}
        status = run(param, step.origin, device, group, options=options | own)
        if status != DONE:
            return status
        found = _standings(steps, options["seed"], group)
    log.info("caffe.cpp:212", "\n".join(lines(steps, found, others)))
    return DONE


def _files(steps: Sequence[Step], found: Mapping[str, Standing]) -> dict[str, str]:
    """The weight files that steps to do start from. Raises NetcError F120 where one is not there."""
    from netc.files.paths import resolve

    return {
        step.name: resolve(step.weights, step.here.start.path, "weights", step.here.place("weights"))
        for step in steps
        if step.weights and not found[step.name].done
    }


def _standings(steps: Sequence[Step], seed: int | None, group: Group) -> dict[str, Standing]:
    """How far the steps have come: rank 0 looks, and tells the others."""
    from netc.runtime.solver.schedule import standings

    found, failed = None, None
    if group.first:
        try:
            found = standings(steps, seed)
        except NetcError as error:
            failed = error
    return cast("dict[str, Standing]", group.agree(failed, found)[0][0])
