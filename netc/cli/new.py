"""`netc new`: a net that comes with netc, as files of one's own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from netc.errors import NetcError, Place, did_you_mean, printable


@click.command("new")
@click.argument("net", metavar="NET")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
def command(net: str, folder: Path) -> None:
    """Copy a net that comes with netc, such as vgg_A, into FOLDER, to edit: its train_val and deploy, its solvers and
    its schedule.

    FOLDER is made if it is not there; files in it are never overwritten. The solver finds the net beside it, so FOLDER
    can be moved. Where snapshots go, snapshot_prefix in the solver says.
    """
    from netc.files.durable import write_whole

    sources = _files(net)
    _refuse(folder, [source.name for source in sources])
    for source in sources:
        text = source.read_text(encoding="utf-8")
        for end in ("`", "/"):
            text = text.replace(f"`netc train {net}{end}", f"`netc train {shlex.quote(str(folder))}{end}")
        write_whole(folder / source.name, [text.encode()])
        click.echo(printable(str(folder / source.name)))
    shown = shlex.quote(str(folder))
    click.echo(printable(f"netc check {shown}/solver.prototxt looks at it, netc train {shown} trains it"), err=True)


def _files(net: str) -> list[Path]:
    """The files of a net that comes with netc. Raises NetcError F103 for any other name."""
    from netc.files.shipped import FOLDER, names

    if net in names():
        return sorted((FOLDER / net).glob("*.prototxt"))
    known = "only nets that come with netc are copied: " + ", ".join(names())
    raise NetcError("F103", f'no net called "{net}" comes with netc{did_you_mean(net, names())}', None, known)


def _refuse(folder: Path, names: list[str]) -> None:
    """Raises NetcError O145 where a file would be written over, or where FOLDER is a file."""
    if folder.exists() and not folder.is_dir():
        raise NetcError("O145", "this is a file, and a folder is needed", Place(str(folder)), "give another name")
    there = [name for name in names if os.path.lexists(folder / name)]
    if there:
        message = f"there is {' and '.join(there)} here already, and nothing is written over"
        raise NetcError("O145", message, Place(str(folder)), "give another folder")
    folder.mkdir(parents=True, exist_ok=True)
