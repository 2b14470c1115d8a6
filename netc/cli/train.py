"""`netc train`: train a net by its solver (Caffe's `caffe train`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import MOST_THREADS, Whole, split
from netc.cli._run import device_options, precision_option, say_device, train_devices
from netc.cli._schedule import train_schedule
from netc.cli._status import DONE, INTERRUPTED, STOPPED, TERMINATED
from netc.errors import NetcError

if TYPE_CHECKING:
    from netc.runtime.parallel.group import Group
    from netc.runtime.solver.log import Log
    from netc.runtime.solver.solver import Solver

MOST_SHARDS = 1 << 16
EFFECTS = click.Choice(["snapshot", "stop", "none"])


@click.command("train")
@click.argument("solver_path", metavar="[SOLVER]", required=False)
@click.option("--solver", metavar="FILE", help="The solver; the same as the argument SOLVER.")
@click.option("--weights", metavar="FILES", help="Start from these weights (several: commas between them).")
@click.option("--snapshot", metavar="FILE", help="Continue from this .solverstate.")
@click.option("--resume", type=click.Choice(["auto"]), help="Continue the run that this command began.")
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
@click.option("--step", metavar="NAME", multiple=True, help="Of a schedule, this step and those it comes from.")
@click.option("--dry-run", is_flag=True, help="Show which steps of a schedule are done and to do; train nothing.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Whole(1, 10**6),
    default=600,
    show_default=True,
    help="How long a process waits for one that does not answer.",
)
@click.option(
    "--compare-every",
    metavar="N",
    type=Whole(0),
    default=100,
    show_default=True,
    help="Compare the weights that several processes have every N iterations (0: never).",
)
@click.option("--caffe-batch", is_flag=True, help="Several processes read a batch each, as Caffe's GPUs do.")
@device_options
@precision_option("tf32", "bf16")
@click.option("--sigint_effect", type=EFFECTS, default="stop", show_default=True, help="What Ctrl-C does.")
@click.option("--sighup_effect", type=EFFECTS, default="snapshot", show_default=True, help="What a hangup does.")
def command(solver_path: str | None, solver: str | None, sigint_effect: str, sighup_effect: str, **options: Any) -> int:
    """Train a net by its solver: a file, a folder with a solver.prototxt, or the name of a net that comes with netc.
    Or train nets step by step: a schedule, such as vgg_D/schedule.prototxt.

    The log goes to stderr in Caffe's form, and as JSON to PREFIX.metrics.jsonl beside the snapshots. The first Ctrl-C
    saves a snapshot and ends with status 75; the same command with --resume auto then goes on, to the same bits.
    """
    if (solver_path is None) == (solver is None):
        raise click.UsageError("give the solver once: netc train SOLVER, or --solver=SOLVER")
    if options["snapshot"] is not None and not (options["weights"] is options["resume"] is None):
        raise click.UsageError("--snapshot and --weights or --resume exclude one another")
    effects = {"SIGINT": sigint_effect, "SIGHUP": sighup_effect}
    return _train(str(solver_path or solver), effects, options)


def _train(source: str, effects: dict[str, str], options: dict[str, Any]) -> int:
    """Alone, or as one of the processes that a launcher has started; or start these."""
    from netc.files.shipped import locate
    from netc.graph.read import TextFile, open_file

    opened = open_file(locate(source, "solver.prototxt"))
    if isinstance(opened, TextFile) and opened.kind == "schedule":
        return train_schedule(opened, options, _in_processes, partial(_run, effects=effects))
    if options["step"] or options["dry_run"]:
        raise click.UsageError("--step and --dry-run are for a schedule, and this is a solver")
    param, origin = opened.solver()
    if options["iterations"] is not None:
        param.max_iter = options["iterations"]
    return _in_processes(param, options, partial(_run, param, origin, effects=effects, options=options))


def _in_processes(param: Any, options: dict[str, Any], run: Callable[[str, Group], int]) -> int:
    """Call `run` with the device and the group of this process; or start those that do. Returns the exit status."""
    from netc.runtime.parallel.group import Group, launched, local_rank, local_size
    from netc.runtime.parallel.launch import launch

    devices = train_devices(options["gpu"], options["nproc"], param, local_size() if launched() else 0)
    if not launched():
        if len(devices) > 1:
            return launch(len(devices), sys.argv[1:])
        return run(devices[0], Group())
    return _work(run, devices[local_rank() % len(devices)], options)


def _work(run: Callable[[str, Group], int], device: str, options: dict[str, Any]) -> int:
    """Train as one of several processes."""
    import faulthandler

    from netc.runtime.parallel.group import Processes
    from netc.runtime.parallel.launch import ended, lost
    from netc.runtime.parallel.watch import LOST

    faulthandler.enable()
    rank, group = int(os.environ["RANK"]), None
    try:
        group = Processes(device, options["timeout"])
        status = run(device, group)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except NetcError as error:
        if error.code == LOST:
            lost(str(error))
        if rank == 0:
            click.echo(str(error), err=True)
        status = error.exit_status
    except Exception:
        who, at = (group.where(), group.at()) if group else (f"rank {rank}", "at the start")
        click.echo(f"netc: {who} has failed {at}:", err=True)
        raise
    if group is not None:
        group.close()
    return ended(status, rank)


def _run(
    param: Any, origin: Any, device: str, group: Group, *, effects: dict[str, str], options: dict[str, Any]
) -> int:
    from netc.runtime.net.heap import keep_heap
    from netc.runtime.net.numerics import settle
    from netc.runtime.solver.training import train

    keep_heap()

    shards = param.shards if options["shards"] is None else options["shards"]
    # the number of threads decides in which order a sum is taken: with shards it is not the number of cores
    settle(options["threads"] or (1 if shards or group.size > 1 else None), options["precision"])
    if options["caffe_batch"]:
        param.iter_size *= group.size
        shards = shards or 1
    run = _start(param, origin, effects, {**options, "shards": shards, "device": device, "group": group})
    if run.shards and not options["threads"]:  # --memory may have set them
        settle(1, options["precision"])
    run.start = options.get("start", "")
    try:
        stopped = train(run, options["force"])
    except NetcError as error:
        return _failed(run, error)
    finally:
        run.close()
    return STOPPED if stopped == "signal" else DONE


def _start(param: Any, origin: Any, effects: dict[str, str], options: dict[str, Any]) -> Solver:
    from netc.runtime.solver.log import Log, nowhere
    from netc.runtime.solver.progress import Progress
    from netc.runtime.solver.report import Report
    from netc.runtime.solver.solver import Solver
    from netc.runtime.solver.training import signals

    progress = Progress(param.max_iter) if options["group"].first else None
    log = Log(progress.stream) if progress is not None else nowhere()
    say_device(options["device"], param, options["gpu"], log)
    snapshot, identity = _going_on(param, origin, options, log)
    run = Solver(
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
        signals=signals(effects, log, options["group"]),
        output_dir=options["output_dir"],
        shards=options["shards"],
        group=options["group"],
        precision=options["precision"],
        channels_last=options["channels_last"],
        compiled=options["compile"],
        memory=options["memory"],
    )
    run.id, run.compare_every = identity, options["compare_every"]
    return run


def _going_on(param: Any, origin: Any, options: dict[str, Any], log: Log) -> tuple[Any, str | None]:
    """What to go on from (a path, a snapshot or None), and the id of its run where that is known. What the launcher has
    started again goes on with the run that it had begun."""
    from netc.runtime.parallel.launch import restarted
    from netc.runtime.solver.identity import launch_of
    from netc.runtime.solver.initial import names
    from netc.runtime.solver.training import going_on
    from netc.solver.settings import prefix

    where, source, group = prefix(param, origin.start.path), origin.start.path, options["group"]
    if launch_of() and (restarted() or not options["force"]):
        found, identity = going_on(where, source, log, group, restarted=launch_of())
        if identity is not None:
            return found, identity
    if options["resume"] is None and not restarted():
        return options["snapshot"], None
    given = names(options["weights"]) if options["weights"] is not None else None
    return going_on(where, source, log, group, options["seed"], given, force=options["force"])


def _failed(run: Solver, error: NetcError) -> int:
    """An error while a signal asked for the end: the snapshot is not there, and the status says which signal it was."""
    if run.signals.caught is None:
        raise error
    click.echo(str(error), err=True)
    return TERMINATED if run.signals.caught == "SIGTERM" else INTERRUPTED
