"""What the commands that run nets share: the device, threads, level and stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from netc.cli._options import INT_MAX, MOST_THREADS, Whole, gpus_of
from netc.errors import NetcError

OPTIONS = (
    click.option(
        "--gpu", metavar="N", help='The GPU to use (to train, also several: "0,1" or "all"). Default: the CPU.'
    ),
    click.option("--threads", metavar="N", type=Whole(1, MOST_THREADS), help="Threads of the CPU to compute with."),
    click.option(
        "--workers", metavar="N", type=Whole(1, MOST_THREADS), help="Threads that decode images (default: one a core)."
    ),
    click.option(
        "--level", metavar="N", type=Whole(-INT_MAX), default=0, help="Level of the net, for include and exclude rules."
    ),
    click.option("--output-dir", metavar="DIR", help="Below which folder HDF5Output layers write (default: this one)."),
    click.option("--stage", metavar="NAMES", multiple=True, help="Stages of the net, with commas or repeated."),
)


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `OPTIONS` to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def precision_option(*others: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--precision`: fp32, or one of `others`."""
    return click.option(
        "--precision",
        type=click.Choice(["fp32", *others]),
        default="fp32",
        show_default=True,
        help="What products are computed in: less is faster, and gives other numbers.",
    )


def train_devices(gpu: str | None, processes: int | None, solver: Any, started: int = 0) -> list[str]:
    """The torch device of each process that trains: of the GPUs that `--gpu` names one each, else the CPU for all.
    `started`: how many a launcher has started on this machine already.
    Raises C203 where there are not as many GPUs as processes."""
    import torch

    count = torch.cuda.device_count()
    if gpu is None and _wants_gpu(solver) and count:
        gpu = str(solver.device_id) if (started or processes or 1) == 1 else "all"
    numbers = _named(gpu, count)
    if numbers and started > len(numbers):
        found = f"{started} processes were started on this machine, for {len(numbers)} GPUs, and each takes one"
        raise NetcError("C203", found, None, "start as many as there are GPUs, and say --gpu all")
    if processes is not None and numbers and processes != len(numbers) and not started:
        found = f"--nproc asks for {processes} processes, --gpu for {len(numbers)} GPUs, and each process takes one"
        raise NetcError("C203", found, None, "leave --nproc out")
    return [f"cuda:{number}" for number in numbers] or ["cpu"] * (processes or 1)


def _named(gpu: str | None, count: int) -> list[int]:
    """The GPUs that `--gpu` names. Raises C201 where it is given and there are none."""
    numbers = gpus_of(gpu, count) if gpu is not None else []
    if gpu is not None and not numbers:
        hint = "leave --gpu out to compute on the CPU; netc device_query lists the devices"
        raise NetcError("C201", "--gpu all: torch sees no GPU here", None, hint)
    return numbers


def _wants_gpu(solver: Any) -> bool:
    return solver is not None and solver.HasField("solver_mode") and bool(solver.solver_mode == 1)


def say_device(device: str, solver: Any, gpu: str | None, log: Any) -> None:
    """The lines that tell what is computed on."""
    if device == "cpu" and gpu is None and _wants_gpu(solver):
        log.warn("caffe.cpp:197", "the solver asks for a GPU (solver_mode), and torch sees none: using the CPU")
    log.info("caffe.cpp:197", "Use CPU." if device == "cpu" else f"Using GPUs {device.removeprefix('cuda:')}")


def one_device(gpu: str | None, log: Any) -> str:
    """The torch device of `--gpu`, for a process that computes from here on. Raises C203 for several GPUs."""
    import torch

    from netc.runtime.net.heap import keep_heap

    keep_heap()
    numbers = _named(gpu, torch.cuda.device_count())
    if len(numbers) > 1:
        listed = ", ".join(map(str, numbers))
        raise NetcError("C203", f"netc tests on one GPU at a time, and --gpu names {listed}", None, "name one")
    device = f"cuda:{numbers[0]}" if numbers else "cpu"
    say_device(device, None, gpu, log)
    return device
