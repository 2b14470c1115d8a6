"""`netc train`: train a net by its solver (Caffe's `caffe train`)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import MOST_THREADS, Whole, split
from netc.cli._run import device_options, precision_option, say_device, train_devices
from netc.cli._status import DONE, INTERRUPTED, STOPPED, TERMINATED
from netc.errors import NetcError

if TYPE_CHECKING:
    from netc.runtime.parallel.group import Group
    from netc.runtime.solver.solver import Solver

MOST_SHARDS = 1 << 16
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
@click.option("--nproc", metavar="N", type=Whole(1, MOST_THREADS), help="Train in N processes (on GPUs: one each).")
@click.option(
    "--shards",
    metavar="S",
    type=Whole(0, MOST_SHARDS),
    help="Divide each batch into S parts: the same bits for any number of processes (0: do not divide).",
)
@click.option(
    "--memory", metavar="SIZE", help="Divide each batch so that training fits, say into 24GB (for each process)."
)
@click.option("--compile", is_flag=True, help="Let torch compile the forward pass.")
@click.option(
    "--channels-last/--channels-first",
    default=None,
    help="How pictures lie in memory (default: as was measured to be faster on this kind of device).",
)
@click.option("--caffe-batch", is_flag=True, help="Several processes read a batch each, as Caffe's GPUs do.")
@device_options
@precision_option("tf32", "bf16")
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
    """Alone, or as one of the processes that a launcher has started; or start these."""
    from netc.files.shipped import locate
    from netc.graph.read import locate_solver
    from netc.runtime.parallel.group import Group, launched, local_rank
    from netc.runtime.parallel.launch import ended, launch

    param, origin = locate_solver(locate(source, "solver.prototxt"))
    if options["iterations"] is not None:
        param.max_iter = options["iterations"]
    devices = train_devices(options["gpu"], options["nproc"], param)
    if not launched():
        if len(devices) > 1:
            return launch(len(devices), sys.argv[1:])
        return _run(param, origin, effects, options, devices[0], Group())
    device = devices[local_rank() % len(devices)]
    group = _joined(device)
    try:
        status = _run(param, origin, effects, options, device, group)
    except NetcError as error:
        if group.first:
            click.echo(str(error), err=True)
        status = error.exit_status
    finally:
        group.close()
    return ended(status, group.rank)


def _joined(device: str) -> Group:
    from netc.runtime.parallel.group import Processes

    return Processes(device)


def _run(param: Any, origin: Any, effects: dict[str, str], options: dict[str, Any], device: str, group: Group) -> int:
    from netc.runtime.net.numerics import settle
    from netc.runtime.solver.training import train

    shards = param.shards if options["shards"] is None else options["shards"]
    # the number of threads decides in which order a sum is taken: with shards it is not the number of cores
    settle(options["threads"] or (1 if shards or group.size > 1 else None), options["precision"])
    if options["caffe_batch"]:
        param.iter_size *= group.size
        shards = shards or 1
    run = _start(param, origin, effects, {**options, "shards": shards, "device": device, "group": group})
    if run.shards and not options["threads"]:  # --memory may have set them
        settle(1, options["precision"])
    try:
        stopped = train(run, options["force"])
    except NetcError as error:
        return _failed(run, error)
    finally:
        run.close()
    return STOPPED if stopped == "signal" else DONE


def _start(param: Any, origin: Any, effects: dict[str, str], options: dict[str, Any]) -> Solver:
    from netc.runtime.parallel.launch import restarted
    from netc.runtime.solver.log import Log, nowhere
    from netc.runtime.solver.progress import Progress
    from netc.runtime.solver.report import Report
    from netc.runtime.solver.solver import Solver
    from netc.runtime.solver.state import prefix
    from netc.runtime.solver.training import newest, signals

    progress = Progress(param.max_iter) if options["group"].first else None
    log = Log(progress.stream) if progress is not None else nowhere()
    say_device(options["device"], param, options["gpu"], log)
    again = options["resume"] is not None or restarted()
    snapshot = newest(prefix(param, origin.start.path), log) if again else options["snapshot"]
    return Solver(
        param,
        origin,
        weights=options["weights"],
        snapshot=snapshot,
        device=options["device"],
        seed=options["seed"],
        workers=options["workers"],
        level=options["level"],
        stages=split(",".join(options["stage"])),
        report=Report(param, log, progress),
        signals=signals(effects, log),
        output_dir=options["output_dir"],
        shards=options["shards"],
        group=options["group"],
        precision=options["precision"],
        channels_last=options["channels_last"],
        compiled=options["compile"],
        memory=options["memory"],
    )


def _failed(run: Solver, error: NetcError) -> int:
    """An error while a signal asked for the end: the snapshot is not there, and the status says which signal it was."""
    if run.signals.caught is None:
        raise error
    click.echo(str(error), err=True)
    return TERMINATED if run.signals.caught == "SIGTERM" else INTERRUPTED
