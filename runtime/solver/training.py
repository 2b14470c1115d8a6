"""A whole training run, as `netc train` does it: checks, lock, signals, records, and Caffe's Solve around the loop."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from netc.check.advice import solver_remarks
from netc.errors import NetcError
from netc.graph.ir import Node
from netc.layers.sources import ARRAYS
from netc.runtime.net.outputs import writing_at_end
from netc.runtime.solver import preflight, state
from netc.runtime.solver.log import Log
from netc.runtime.solver.signals import Signals
from netc.runtime.solver.snapshot import Snapshot, in_the_way, iteration_of, latest, manifests, strangers, take_back
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
            run.report.starting(run.net.graph.name, run.prefix, run.iter, run.options())
        except NetcError as error:
            failed = error
    run.group.agree(failed)


@contextmanager
def _saving_what_was_learnt(run: Solver) -> Iterator[None]:
    """Data that can no longer be read end training; a snapshot of what is not saved yet comes before that. Where an
    iteration failed at a later one of its batches (iter_size), BatchNorm's running means have seen those before it."""
    start = run.iter
    try:
        yield
    except NetcError as error:
        if error.code[0] == "D" or error.code in _DATA_FAULTS:
            run.save_if_new(since=start)
        raise


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
    that is wanted; files that are not netc's never are.

    `--resume auto` takes the newest snapshot by its iteration, whichever run of the prefix wrote it.
    """
    take_back(run.prefix)
    place = run.origin.place("snapshot_prefix")
    for iteration, path in strangers(run.prefix):
        if iteration > run.iter and _falls_due(run.param, iteration):
            raise in_the_way(path, place)
    ahead = [path for path in manifests(run.prefix) if iteration_of(path) > run.iter]
    names = [path.name.removesuffix(".manifest.json") for path in ahead]
    shown = ", ".join(names if len(names) < 4 else [names[0], "…", names[-1]])
    if run.last_snapshot is None and latest(run.prefix) is not None and not force:
        raise NetcError(
            "O612",
            f"this run starts afresh, but {run.prefix.parent} has snapshots of an earlier one: {shown}",
            place,
            "--resume auto goes on from the newest; move them away, set another snapshot_prefix, or replace them with "
            "--force",
        )
    if ahead:
        run.report.warn(
            f"{shown} are not of this run, which replaces them when it comes to their iterations; --resume auto would "
            "go on from the newest of all"
        )


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


def signals(effects: Mapping[str, str], log: Log) -> Signals:
    """The signals of a run that tells of the first one at once. `effects`: {signal name: "snapshot", "stop" or
    "none"}."""

    def notice(name: str) -> None:
        text = f"{name}: ending after this iteration with a snapshot; Ctrl-C (again) ends at once"
        if log.stream is not None:
            with suppress(OSError):  # the terminal may have gone, which may be why the signal came
                os.write(2, Log(None).lines("I", "solver.cpp:275", text).encode())

    return Signals(effects, notice)


def newest(run_prefix: Path, log: Log) -> Snapshot | None:
    """What to continue from with `--resume auto`: the newest whole snapshot, or None for a fresh start."""
    found = latest(run_prefix, lambda error: log.warn("solver.cpp:57", f"passing over a damaged snapshot: {error}"))
    if found is None:
        log.info("solver.cpp:57", f"No snapshot {run_prefix}_iter_* to resume from: starting at iteration 0")
    return found
