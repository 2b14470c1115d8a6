"""`netc fmt`: prototxt files in canonical form."""

from __future__ import annotations

import click

from netc.cli._status import DONE, FAILED
from netc.errors import NetcError, printable


@click.command("fmt")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--check", is_flag=True, help="Write nothing; name the files that would change, and exit with 1.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
def command(files: tuple[str, ...], check: bool, diff: bool) -> int:
    """Write nets and solvers in canonical form: a field a line, two blanks a level, double quotes.

    The order of fields, the comments and single blank lines stay, and so does a block that stands on one line where it
    fits in 120 columns. A file changes only if the result is read to the same net. FILE - formats stdin to stdout.
    """
    status, changed, read = DONE, 0, 0
    for name in files:
        try:
            changed += _format(name, check, diff)
            read += 1
        except NetcError as error:
            click.echo(str(error), err=True)
            status = max(status, error.exit_status)
    if read and "-" not in files and not (check or diff):
        click.echo(f"{changed} of {len(files)} files rewritten" if len(files) > 1 else _said(bool(changed)), err=True)
    return status or (FAILED if check and changed else DONE)


def _said(changed: bool) -> str:
    return "rewritten" if changed else "in canonical form already"


def _format(name: str, check: bool, diff: bool) -> bool:
    """Format one file; whether that changes it."""
    from netc.cli._rewrite import encoded, replace_file, show, show_diff, stdin
    from netc.prototxt import Source
    from netc.prototxt.rewrite import formatted

    source = stdin() if name == "-" else Source.read(name)
    text = formatted(source)
    changed = text != source.text
    if diff and changed:
        show_diff(source.path, source.text, text)
    if check and changed:
        click.echo(printable(source.path), err=diff)
    if check or diff:
        return changed
    if name == "-":
        show(text)
    elif changed:
        replace_file(name, [encoded(text)])
    return changed
