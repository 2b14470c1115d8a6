"""`netc demo`: from nothing to a trained net in a few minutes."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netc.cli._options import Whole
from netc.cli._progress import progress_bar
from netc.cli._status import DONE, STOPPED

if TYPE_CHECKING:
    from netc.runtime.demo.steps import Outcome


@click.command("demo")
@click.option(
    "--out",
    default="netc_demo",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where it all goes.",
)
@click.option("--iterations", metavar="N", type=Whole(1), help="Train until iteration N (default: 500).")
def command(out: Path, iterations: int | None) -> int:
    """Draw pictures of ten classes, put them into databases, train mini_vgg_A on them by its solver, and test it.

    Everything stays in DIR, for you to look at and edit: the pictures and their boxes, the databases, the net and its
    solver, the log, the curves and the snapshot. Run again, it goes on from where it was stopped.
    """
    from netc.runtime.demo.steps import ITERATIONS, NET, prepare, train_and_test, working_in

    start, count = time.perf_counter(), iterations or ITERATIONS
    with progress_bar("drawing") as progress:
        prepare(out, click.echo, progress)
    click.echo(f"training {NET} for {count} iterations; the log is {out / 'train.log'}")
    with working_in(out):
        outcome = train_and_test(count, click.echo)
    if outcome is None:
        click.echo(f"stopped, with a snapshot saved; {_again(out)} goes on", err=True)
        return STOPPED
    click.echo("\n".join(lines(outcome, out, time.perf_counter() - start)))
    return DONE


def lines(outcome: Outcome, out: Path, seconds: float) -> list[str]:
    """The result and what to try next; each command works as it is printed."""
    netc = program(out)
    return [
        "",
        f"accuracy {outcome.accuracy:.1%} on pictures it has not seen, after {outcome.iteration} iterations"
        f" ({seconds:.0f} s in all)",
        f"  weights  {out / outcome.weights}",
        f"  curves   {out / outcome.curves}",
        "",
        "Next: test it again; go on to the solver's end; edit a .prototxt, and see what each layer costs now.",
        "",
        f"  cd {shlex.quote(str(out))}",
        f"  {netc} test train_val.prototxt --weights {outcome.weights}",
        f"  {netc} train solver.prototxt --resume auto",
        f"  {netc} check train_val.prototxt",
    ]


def program(folder: Path) -> str:
    """How a user in `folder` calls this netc: by name where the shell finds it, otherwise by its path."""
    script = Path(sys.executable).with_name("netc")
    found = shutil.which("netc")
    if found and script.exists() and os.path.samefile(found, script):
        return "netc"
    if script.exists():
        return shlex.quote(min(str(script), os.path.relpath(script, folder), key=len))
    return f"{shlex.quote(sys.executable)} -m netc"


def _again(out: Path) -> str:
    return f"{program(Path())} demo --out {shlex.quote(str(out))}"
