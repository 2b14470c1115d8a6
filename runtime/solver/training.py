"""A whole training run, as `netc train` does it: checks, lock, signals, records, and Caffe's Solve around the loop."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from netc.check.advice import solver_remarks
from netc.errors import NetcError
from netc.graph.ir import Node
from netc.layers.sources import ARRAYS
from netc.runtime.net.outputs import writing_at_end
from netc.runtime.parallel.group import Group
from netc.runtime.parallel.launch import listening
from netc.runtime.solver import identity as identities
from netc.runtime.solver import preflight, state
from netc.runtime.solver.diverged import with_state
from netc.runtime.solver.log import Log
from netc.runtime.solver.signals import ECHO, Signals
from netc.runtime.solver.snapshot import Snapshot, in_the_way, latest, strangers, take_back
from netc.runtime.solver.solver import Solver

_DATA_FAULTS = {"F102", "F104", "R621", "X120"}
"""Besides those of section D: errors of a source that can come in the middle of a run."""


def train(run: Solver, force: bool = False) -> str | None:
    """Train until max_iter; returns why training ended before it ("signal", "plateau") or None. `force`: a run that
    starts afresh may replace the snapshots of an earlier one with its prefix.

    Raises NetcError O610 to O613, O702, X610 before the first iteration, and what the iterations raise.
    """
    if run.unfed is not None:
        raise _unfed(run.unfed)
    if not run.net.has_loss():
        raise run.net.no_loss()
    for remark in solver_remarks(run.param):
        run.report.warn(remark.message)
    files = writing_at_end([run.net, *run.test_nets])
    with ExitStack() as held, files, run.signals, run.report.progress or nullcontext():
        listening(run.group.rank)
        run.group.tell_of_end(lambda: run.signals.stopping)
        _prepare(run, force, held)
        with _last_record(run), _saving_what_was_learnt(run):
            run.advance(run.param.max_iter)
            run.finish()
    run.report.ended(run.stopped)
    return run.stopped


def _prepare(run: Solver, force: bool, held: ExitStack) -> None:
    """What has to be right before the first iteration: rank 0 looks, and speaks for all. `held`: what it holds till the
    end."""
    failed = None
    if run.group.first:
        try:
            preflight.check_folder(run.prefix, state.size(run), run.origin.place("snapshot_prefix"))
            held.enter_context(preflight.PrefixLock(run.prefix))
            _check_earlier(run, force)
            options, id = run.options(), _identify(run)
            run.report.starting(run.net.graph.name, run.prefix, run.iter, options, id)
        except NetcError as error:
            failed = error
    run.group.agree(failed)


def _identify(run: Solver) -> str:
    """Write down the run where it begins. Returns the id that its records go by."""
    known = {each.id: each for each in identities.runs(run.prefix)}
    if run.id is None:
        run.id = identities.identify(run.prefix, run.iter, run.last_snapshot, run.owner)
    if run.id not in known:
        seen = partial(identities.seen_from, run.prefix)
        weights = [] if run.last_snapshot else [seen(path) for path in run.given_weights]
        start = str((run.last_snapshot and seen(str(run.last_snapshot))) or "")
        solver = seen(run.origin.start.path)
        root = known[run.owner].root if run.owner in known else run.id
        known[run.id] = identities.Run(run.id, root, solver, run.seed, weights, identities.launch_of(), start)
        identities.write(run.prefix, known[run.id])
    return known[run.id].root


@contextmanager
def _saving_what_was_learnt(run: Solver) -> Iterator[None]:
    """Data that can no longer be read end training, and so does a value that is not finite: a snapshot of the state
    before that iteration, if it is not saved yet, comes first."""
    start = run.iter
    try:
        yield
    except NetcError as error:
        if error.code[0] == "D" or error.code in _DATA_FAULTS or (error.code == "R630" and run.finite()):
            run.save_if_new(since=start)
        raise with_state(error, run.last_snapshot) from None


@contextmanager
def _last_record(run: Solver) -> Iterator[None]:
    reason = "interrupted"
    try:
        yield
        reason = run.stopped or "done"
    except NetcError as error:
        reason = str(error)
        raise
    finally:
        run.report.closed(run.iter, reason)


def _check_earlier(run: Solver, force: bool) -> None:
    """What an earlier run has left under this prefix: snapshots are not replaced by a run that starts afresh, unless
    that is wanted; files that are not netc's never are."""
    take_back(run.prefix)
    place = run.origin.place("snapshot_prefix")
    for iteration, path in strangers(run.prefix):
        if iteration > run.iter and _falls_due(run.param, iteration):
            raise in_the_way(path, place)
    begun = run.id is not None and run.id in {known.id for known in identities.runs(run.prefix)}
    if run.last_snapshot is None and not begun and not force and latest(run.prefix) is not None:
        shown = _shown(run.prefix, [iteration for iteration, _ in identities.owners(run.prefix)])
        raise NetcError(
            "O612",
            f"this run starts afresh, but {run.prefix.parent} has snapshots of an earlier one: {shown}",
            place,
            "--resume auto goes on with the run that this command began; move them away, set another snapshot_prefix, "
            "or replace them with --force",
        )
    mine = run.id or identities.identify(run.prefix, run.iter, run.last_snapshot, run.owner)
    ahead = [iteration for iteration, owner in identities.owners(run.prefix) if iteration > run.iter and owner != mine]
    if ahead:
        run.report.warn(
            f"{_shown(run.prefix, ahead)} are not of this run, which replaces them when it comes to their iterations; "
            "--resume auto goes on with this run"
        )


def _shown(prefix: Path, iterations: list[int]) -> str:
    names = [f"{prefix.name}_iter_{iteration}" for iteration in iterations]
    return ", ".join(names if len(names) < 4 else [names[0], "…", names[-1]])


def _falls_due(param: Any, iteration: int) -> bool:
    by_interval = bool(param.snapshot) and iteration % param.snapshot == 0
    return iteration == param.max_iter or (iteration < param.max_iter and by_interval)


def _unfed(node: Node) -> NetcError:
    return NetcError(
        "R624",
        f'nothing feeds the {node.type} layer "{node.name}" ({", ".join(node.tops)})',
        node.place,
        "train from a Data layer, or call run.step(n, feed=…) from Python"
        + (", or run.net.set_input_arrays(…)" if node.layer.feed == ARRAYS else ""),
    )


def signals(effects: Mapping[str, str], log: Log, group: Group | None = None) -> Signals:
    """The signals of a run that tells of the first one at once. `effects`: {signal name: "snapshot", "stop" or
    "none"}."""

    def notice(name: str) -> None:
        text = f"{name}: ending with a snapshot, after this iteration if it is not long; Ctrl-C (again) ends at once"
        if log.stream is not None and (group is None or group.first):
            with suppress(OSError):  # the terminal may have gone, which may be why the signal came
                os.write(2, Log(None).lines("I", "solver.cpp:275", text).encode())

    return Signals(effects, notice, ECHO if group is not None and group.size > 1 else 0.0)


def going_on(
    run_prefix: Path,
    solver: str,
    log: Log,
    group: Group | None = None,
    seed: int | None = None,
    weights: Sequence[str] | None = None,
    restarted: str = "",
    force: bool = False,
) -> tuple[Snapshot | None, str | None]:
    """What `--resume auto` goes on from, and the id of the run (netc.runtime.solver.identity.chosen): rank 0 decides.
    `restarted`: the launch whose run it has to be. `force`: a fresh start may replace what runs of other
    commands have saved."""
    group, failed = group or Group(), None
    found, identity = None, None
    if group.first:
        given = None if weights is None else tuple(identities.seen_from(run_prefix, path) for path in weights)
        command = identities.Command(identities.seen_from(run_prefix, solver), seed, given)
        try:
            found, identity = identities.chosen(run_prefix, command, restarted, lambda error: _passing_over(error, log))
        except NetcError as error:
            failed = None if force and error.code == "O614" else error
        if found is None and failed is None and not restarted:
            log.info("solver.cpp:57", f"No snapshot {run_prefix}_iter_* to resume from: starting at iteration 0")
    path, identity = group.agree(failed, found and found.path, identity)[0]
    return (found if group.first or path is None else state.read(path)), identity


def _passing_over(error: NetcError, log: Log) -> None:
    log.warn("solver.cpp:57", f"passing over a damaged snapshot: {error}")
