"""`--engine` and `--precision`, of the commands that run nets forward."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

ENGINES = ("torch", "compile", "openvino", "onnxruntime", "auto")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds both to a command; `net_maker` takes their values."""
    precision = click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="fp32",
        show_default=True,
        help="What is computed in: less is faster, and gives other numbers. Which there are depends on the engine.",
    )
    engine = click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default="torch",
        show_default=True,
        help="What runs the net; auto: the fastest one here. Proved against torch before it is used.",
    )
    return engine(precision(command))


calibrate_option = click.option(
    "--calibrate", metavar="SOURCE", help="Pictures for the ranges of int8: an LMDB, a list, or a folder."
)


def net_maker(
    engine: str, precision: str, device: str, calibration: Iterable[Mapping[str, Any]] | None = None
) -> Callable[..., Any]:
    """What makes the net; what should be said goes to stderr. Raises NetcError R771, R772, R776."""
    from netc.runtime.net.load import engine_net

    return engine_net(engine, precision, device, 1, calibration, say)


def say(text: str) -> None:
    click.echo(f"note: {text}", err=True)
