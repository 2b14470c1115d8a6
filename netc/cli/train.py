"""`netc train`: train a net by its solver (Caffe's `caffe train`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import Whole, split
from netc.cli._run import device_options, one_device
from netc.cli._status import DONE, INTERRUPTED, STOPPED, TERMINATED
from netc.errors import NetcError

if TYPE_CHECKING:
    from netc.runtime.solver.solver import Solver

EFFECTS = click.Choice(["snapshot", "stop", "none"])


@click.command("train")
@click.argument("solver_path", metavar="[SOLVER]", required=False)
@click.option("--solver", metavar="FILE", help="The solver; the same as the argument SOLVER.")
@click.option("--weights", metavar="FILES", help="Start from these weights (several: commas between them).")
@click.option("--snapshot", metavar="FILE", help="Continue from this .solverstate.")
@click.option("--resume", type=click.Choice(["auto"]), help="Continue from the newest whole snapshot, if there is one.")
@click.option("--iterations", metavar="N", type=Whole(0), help="Train until iteration N, whatever max_iter says.")
@click.option("--force", is_flag=True, help="Start afresh over the snapshots of an earlier run with this prefix.")
@click.option(
    "--seed", metavar="N", type=Whole(0, 2**63 - 1), help="Seed of everything random (default: random_seed, or 0)."
)
@device_options
@click.option("--sigint_effect", type=EFFECTS, default="stop", show_default=True, help="What Ctrl-C does.")
@click.option("--sighup_effect", type=EFFECTS, default="snapshot", show_default=True, help="What a hangup does.")
def command(solver_path: str | None, solver: str | None, sigint_effect: str, sighup_effect: str, **options: Any) -> int:
    """Train a net by its solver: a file, a folder with a solver.prototxt, or the name of a net that comes with netc.

    The log goes to stderr in Caffe's form, and as JSON to PREFIX.metrics.jsonl beside the snapshots. The first Ctrl-C
    saves a snapshot and ends with status 75; the same command with --resume auto then goes on, to the same bits.
    """
    if (solver_path is None) == (solver is None):
        raise click.UsageError("give the solver once: netc train SOLVER, or --solver=SOLVER")
    if sum(options[name] is not None for name in ("weights", "snapshot", "resume")) > 1:
        raise click.UsageError("--weights, --snapshot and --resume exclude one another")
    effects = {"SIGINT": sigint_effect, "SIGHUP": sighup_effect}
    return _train(str(solver_path or solver), effects, options)


def _train(source: str, effects: dict[str, str], options: dict[str, Any]) -> int:
    from netc.files.shipped import locate
    from netc.graph.read import locate_solver
    from netc.runtime.net.numerics import settle
    from netc.runtime.solver.training import train

    settle(options["threads"], options["tf32"])
    param, origin = locate_solver(locate(source, "solver.prototxt"))
    if options["iterations"] is not None:
        param.max_iter = options["iterations"]
    run = _start(param, origin, effects, options)
    try:
        stopped = train(run, options["force"])
    except NetcError as error:
        return _failed(run, error)
    finally:
        run.close()
    return STOPPED if stopped == "signal" else DONE


def _start(param: Any, origin: Any, effects: dict[str, str], options: dict[str, Any]) -> Solver:
    from netc.runtime.solver.log import Log
    from netc.runtime.solver.progress import Progress
    from netc.runtime.solver.report import Report
    from netc.runtime.solver.solver import Solver
    from netc.runtime.solver.state import prefix
    from netc.runtime.solver.training import newest, signals

    progress = Progress(param.max_iter)
    log = Log(progress.stream)
    device = one_device(options["gpu"], param, log)
    snapshot = options["snapshot"] if options["resume"] is None else newest(prefix(param, origin.start.path), log)
    return Solver(
        param,
        origin,
        weights=options["weights"],
        snapshot=snapshot,
        device=device,
        seed=options["seed"],
        workers=options["workers"],
        level=options["level"],
        stages=split(",".join(options["stage"])),
        report=Report(param, log, progress),
        signals=signals(effects, log),
        output_dir=options["output_dir"],
    )


def _failed(run: Solver, error: NetcError) -> int:
    """An error while a signal asked for the end: the snapshot is not there, and the status says which signal it was."""
    if run.signals.caught is None:
        raise error
    click.echo(str(error), err=True)
    return TERMINATED if run.signals.caught == "SIGTERM" else INTERRUPTED
