"""`netc upgrade`: nets and solvers of older formats in the current one (Caffe's upgrade_net_proto_text and kin)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netc.cli._options import force_option, output_option
from netc.cli._rewrite import stdin
from netc.cli._status import DONE
from netc.errors import NetcError, Place, printable

if TYPE_CHECKING:
    from netc.graph.read import BinaryFile, TextFile


@click.command("upgrade")
@click.argument("file", metavar="FILE")
@output_option("OUT", "The file to write; - is stdout (default for text).")
@click.option("--in-place", is_flag=True, help="Write over FILE.")
@force_option
def command(file: str, output: str | None, in_place: bool, force: bool) -> int:
    """Rewrite a net or solver of an older format (V0, V1, input fields, solver_type) in the current one.

    FILE is text or binary; a .caffemodel keeps its weights, bit for bit. Comments of a text stay with what they are
    about, and the text comes in the form of `netc fmt`. What is in the current format already is left as it is.
    """
    from netc.graph.read import TextFile, open_file

    if (output is not None and in_place) or (in_place and file == "-"):
        raise NetcError("C180", "give -o or --in-place, not both; --in-place needs a file")
    target = file if in_place else None if output == "-" else output
    opened = open_file(stdin() if file == "-" else Path(file))
    if isinstance(opened, TextFile):
        _text(opened, target, in_place, force)
    else:
        _binary(opened, target, in_place, force)
    return DONE


def _text(file: TextFile, target: str | None, in_place: bool, force: bool) -> None:
    from netc.cli._rewrite import encoded, replace_file, show
    from netc.upgrade.text import upgraded_net, upgraded_solver

    source = file.source
    text, remarks = upgraded_solver(source, file.tree) if file.kind == "solver" else upgraded_net(file.draft())
    for remark in remarks:
        click.echo(str(remark), err=True)
    result = source.text if text is None else text
    if target is None:
        show(result)
    elif text is not None or not in_place:
        replace_file(target, [encoded(result)], force or in_place)
    _say(source.path, text is not None)


def _binary(file: BinaryFile, target: str | None, in_place: bool, force: bool) -> None:
    from netc.cli._rewrite import replace_file
    from netc.upgrade.binary import upgraded_binary

    if target is None:
        raise NetcError("C181", "the file is binary: give -o OUT or --in-place", Place(file.source.path))
    chunks = upgraded_binary(file.source, file.solver()[0] if file.kind == "solver" else file.draft().param)
    if chunks is not None or not in_place:
        replace_file(target, [file.source.wire.bytes] if chunks is None else chunks, force or in_place)
    _say(file.source.path, chunks is not None)


def _say(path: str, changed: bool) -> None:
    said = "upgraded to the current format" if changed else "in the current format already"
    click.echo(f"{printable(path)}: {said}", err=True)
