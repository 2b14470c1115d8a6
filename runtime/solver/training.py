"""A whole training run, as `netc train` does it: checks, lock, signals, records, and Caffe's Solve around the loop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from netc.check.advice import solver_remarks
from netc.errors import NetcError
from netc.graph.ir import Node
from netc.layers.sources import ARRAYS
from netc.runtime.net.outputs import writing_at_end
from netc.runtime.solver import preflight, state
from netc.runtime.solver.log import Log
from netc.runtime.solver.metrics import Metrics
from netc.runtime.solver.signals import Signals
from netc.runtime.solver.snapshot import Snapshot, latest, manifests
from netc.runtime.solver.solver import Solver


def train(run: Solver) -> str | None:
    """Train until max_iter; returns why training ended before it ("signal", "plateau") or None.

    Raises NetcError O610, O611, X610 before the first iteration, and what the iterations raise.
    """
    if run.unfed is not None:
        raise _unfed(run.unfed)
    for remark in solver_remarks(run.param):
        run.report.warn(remark.message)
    _warn_of_earlier_run(run)
    preflight.check_folder(run.prefix, state.size(run), run.origin.place("snapshot_prefix"))
    lock, files = preflight.PrefixLock(run.prefix), writing_at_end([run.net, *run.test_nets])
    with lock, files, run.signals, run.report.progress or nullcontext():
        run.report.starting(run.net.graph.name, Metrics(run.prefix, run.iter))
        run.advance(run.param.max_iter)
        run.finish()
    run.report.ended(run.stopped)
    return run.stopped


def _warn_of_earlier_run(run: Solver) -> None:
    """`--resume auto` takes the newest snapshot by its iteration, whichever run of the prefix wrote it."""
    found = manifests(run.prefix) if run.last_snapshot is None else []
    if found:
        names = [path.name.removesuffix(".manifest.json") for path in found]
        shown = names if len(names) < 4 else [names[0], "…", names[-1]]
        run.report.warn(
            f"this run starts afresh, but {run.prefix.parent} has snapshots of an earlier one: {', '.join(shown)}; "
            "--resume auto would go on from the newest of all: move them away, or set another snapshot_prefix"
        )


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
            os.write(2, Log(None).lines("I", "solver.cpp:275", text).encode())

    return Signals(effects, notice)


def newest(run_prefix: Path, log: Log) -> Snapshot | None:
    """What to continue from with `--resume auto`: the newest whole snapshot, or None for a fresh start."""
    found = latest(run_prefix, lambda error: log.warn("solver.cpp:57", f"passing over a damaged snapshot: {error}"))
    if found is None:
        log.info("solver.cpp:57", f"No snapshot {run_prefix}_iter_* to resume from: starting at iteration 0")
    return found
