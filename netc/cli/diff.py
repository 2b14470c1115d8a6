"""`netc diff`: what differs in meaning between two nets, or two solvers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netc.cli._options import json_option, json_text, net_options
from netc.cli._status import DONE, FAILED

if TYPE_CHECKING:
    from netc.check.probe import Told


@click.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@net_options("compare", "The phase to compare (default: those that both files have).")
@click.option("--nets", is_flag=True, help="Of two solvers, compare their nets too.")
@json_option
def command(
    first: str,
    second: str,
    phase: str | None,
    level: int,
    stages: list[str],
    nets: bool,
    told: Told,
    as_json: bool,
) -> int:
    """Tell what differs in meaning between two nets or two solvers, of any format.

    Layers are compared by name, then by what they do; blob names, defaults that are written out, and layers that could
    stand in another order make no difference. Exit status: 0 the same, 1 different.
    """
    from netc.cli._diff_report import as_dict, lines
    from netc.files.shipped import locate
    from netc.look.diff.files import Asked, compare_files

    asked = Asked(phase, level, stages, nets, told)
    found = compare_files(locate(first, "train_val.prototxt"), locate(second, "train_val.prototxt"), asked)
    click.echo(json_text(as_dict(found)) if as_json else "\n".join(lines(found)))
    return DONE if found.same else FAILED
