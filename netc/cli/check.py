"""`netc check`: everything that can be said of nets and solvers without running them, and without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netc.cli._options import Whole, json_option, json_text, net_options
from netc.cli._status import DONE

if TYPE_CHECKING:
    from netc.check.probe import Told
    from netc.check.report import Report

PHASES = {"TRAIN": (0,), "TEST": (1,), "BOTH": (0, 1)}


@click.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@net_options("build for", "The phase to build for (default: those that make sense for the file).", tuple(PHASES))
@click.option("--batch", type=Whole(min=1), metavar="N", help="Images for which to reckon the memory.")
@json_option
def command(
    files: tuple[str, ...],
    phase: str | None,
    level: int,
    stages: list[str],
    batch: int | None,
    told: Told,
    as_json: bool,
) -> int:
    """Check nets and solvers, and show what each layer gives, costs and sees.

    FILE is a net, a solver (checked with all of its nets), or the name of a net that comes with netc, such as vgg_E.
    All errors are listed, not the first alone. Nothing is run: the first record of a data layer's source is read if
    it is there, and where it is not, the images' size is taken from --shape or crop_size.
    """
    from netc.check.examine import Request, examine_named

    request = Request(PHASES[phase] if phase else (), level, tuple(stages), told)
    reports = [examine_named(file, request) for file in files]
    if as_json:
        _print_json(reports, batch)
    else:
        _print_text(reports, batch)
    return max((error.exit_status for report in reports for error in report.errors), default=DONE)


def _print_json(reports: list[Report], batch: int | None) -> None:
    found = {"ok": all(report.ok for report in reports), "files": [report.as_dict(batch) for report in reports]}
    click.echo(json_text(found))


def _print_text(reports: list[Report], batch: int | None) -> None:
    for number, report in enumerate(reports):
        if number:
            click.echo()
        click.echo("\n".join(report.page(batch)))
        for remark in (*report.errors, *report.advice):
            click.echo(str(remark), err=True)
    codes = [one.code for report in reports for one in report.errors]
    codes += [one.code for report in reports for one in report.advice]
    if codes:
        click.echo(f"netc explain {codes[0]} tells what this means and what to do", err=True)
