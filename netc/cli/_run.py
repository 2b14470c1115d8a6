"""What the commands that run nets share: the device, threads, level and stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from netc.cli._options import INT_MAX, MOST_THREADS, Whole, gpus_of
from netc.errors import NetcError

OPTIONS = (
    click.option("--gpu", metavar="N", help='The GPU to use ("all": the only one there is). Default: the CPU.'),
    click.option("--threads", metavar="N", type=Whole(1, MOST_THREADS), help="Threads of the CPU to compute with."),
    click.option("--tf32", is_flag=True, help="Let a GPU multiply with 10 bits of mantissa: faster, other numbers."),
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


def one_device(gpu: str | None, solver: Any = None, log: Any = None) -> str:
    """The torch device of `--gpu`; without it, of the solver's solver_mode and device_id, as in Caffe.

    A solver that asks for a GPU where there is none runs on the CPU, with a warning. Raises C203 for several GPUs.
    """
    import torch

    count = torch.cuda.device_count()
    if gpu is None:
        wants = solver is not None and solver.HasField("solver_mode") and solver.solver_mode == 1
        if wants and not count:
            log.warn("caffe.cpp:197", "the solver asks for a GPU (solver_mode), and torch sees none: using the CPU")
        gpu = str(solver.device_id) if wants and count else None
    numbers = gpus_of(gpu, count) if gpu is not None else []
    if gpu is not None and not numbers:
        hint = "leave --gpu out to compute on the CPU; netc device_query lists the devices"
        raise NetcError("C201", "--gpu all: torch sees no GPU here", None, hint)
    if len(numbers) > 1:
        listed = ", ".join(map(str, numbers))
        raise NetcError(
            "C203", f"netc trains and tests on one GPU at a time, and --gpu names {listed}", None, "name one"
        )
    if log is not None:
        log.info("caffe.cpp:197", "Use CPU." if not numbers else f"Using GPUs {numbers[0]}")
    if not numbers:
        return "cpu"
    return f"cuda:{numbers[0]}"
