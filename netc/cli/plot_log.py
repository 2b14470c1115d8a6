"""`netc plot-log`: the curves of training logs as one picture (Caffe's plot_training_log.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netc.cli._options import force_option, output_option
from netc.errors import NetcError, Place

SECONDS = "seconds"


@click.command("plot-log")
@click.argument("logs", metavar="LOG...", nargs=-1, required=True)
@output_option("FILE", "Where to write, as .png or .svg (default: the first log's name with .png, in this folder).")
@click.option(
    "--x",
    type=click.Choice(["iterations", SECONDS], case_sensitive=False),
    default="iterations",
    show_default=True,
    help="The horizontal axis.",
)
@click.option("--title", metavar="TEXT", help="What stands above the picture (default: the name of the log).")
@force_option
def command(logs: tuple[str, ...], output: str | None, x: str, title: str | None, force: bool) -> None:
    """Draw the losses and scores of training logs: Caffe's, netc's, or the .metrics.jsonl that netc writes.

    Several logs share a picture, a colour each. One log has a mark where its learning rate changes.
    """
    from netc.files.durable import refuse_existing, write_whole
    from netc.runtime.report.curves import draw, png, svg, together

    target = Path(output) if output else Path(f"{Path(logs[0]).name.removesuffix('.log')}.png")
    kind = target.suffix.lower()
    if kind not in (".png", ".svg"):
        found = f'"{target}" does not tell the format'
        raise NetcError("C160", found, None, "let the name end in .png or .svg")
    refuse_existing(str(target), force=force)
    runs = {name: _records(path, x.lower()) for name, path in _names(logs).items()}
    panels, marks = together(runs, "seconds" if x.lower() == SECONDS else "iter")
    axis = "seconds" if x.lower() == SECONDS else "iteration"
    drawn = (panels, title or ", ".join(runs) if len(runs) < 4 else f"{len(runs)} runs", marks, axis)
    content = svg(*drawn).encode() if kind == ".svg" else png(draw(*drawn))
    write_whole(target, [content], force=force)
    click.echo(str(target))


def _names(logs: tuple[str, ...]) -> dict[str, str]:
    """{what a log is called in the picture: its path}: its name, or the whole path where two have the same."""
    short = [Path(path).name.removesuffix(".log").removesuffix(".metrics.jsonl") for path in logs]
    return {name if short.count(name) == 1 else path: path for name, path in zip(short, logs)}


def _records(path: str, x: str) -> list[dict[str, Any]]:
    """Raises NetcError D560 for a log without numbers, C253 where its times are not told."""
    from netc.files.opening import open_regular
    from netc.runtime.report.caffe_log import records
    from netc.runtime.solver.metrics import read

    with open_regular(path) as file:
        own = file.read(1) == b"{"
        file.seek(0)
        found = read(Path(path)) if own else records(line.decode(errors="replace") for line in file)
    if own and x == SECONDS:
        message = "these records say how long each part took, not when it was"
        raise NetcError("C253", message, Place(path), "give the log of the run, or leave --x out")
    if not found:
        hint = "a log of `caffe train` or `netc train`, with `display` or `test_interval` in the solver"
        raise NetcError("D560", "there are no outputs of training or testing in this log", Place(path), hint)
    return found
