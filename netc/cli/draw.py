"""`netc draw`: a picture of a net, drawn by netc itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netc.cli._options import force_option, net_options, output_option
from netc.errors import NetcError, printable

if TYPE_CHECKING:
    from netc.check.probe import Told

FORMATS = ("svg", "html", "dot", "mermaid")


@click.command("draw")
@click.argument("net", metavar="NET")
@output_option("FILE", "Where to write; - is stdout (default: the net's name with .svg).")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS, case_sensitive=False),
    help="What to write (default: by the ending of FILE, or SVG).",
)
@net_options("draw", "The phase to draw (default: TRAIN where the net has a loss).")
@force_option
def command(
    net: str,
    output: str | None,
    form: str | None,
    phase: str | None,
    level: int,
    stages: list[str],
    told: Told,
    force: bool,
) -> None:
    """Draw a net: its layers as boxes, with settings and parameters, and the shapes of what flows between them.

    NET is a file or the name of a net that comes with netc, such as vgg_E. SVG and HTML open in any browser; DOT is for
    Graphviz, Mermaid for Markdown. A layer in place stands in the box of the layer that it works on. Where the data of
    a net are not here, or a layer's type is not known, it is drawn without shapes.
    """
    from netc.files.durable import refuse_existing, write_whole
    from netc.files.shipped import locate
    from netc.look.draw import FORMATS as WRITERS
    from netc.look.draw.files import drawing

    chosen = form.lower() if form else _form(output)
    if output not in (None, "-"):
        refuse_existing(str(output), force=force)
    path = locate(net, "train_val.prototxt")
    drawn = drawing(path, phase, level, stages, told)
    for note in drawn.notes:
        click.echo(printable(note), err=True)
    text = WRITERS[chosen](drawn.picture, drawn.title)
    if output == "-":
        click.echo(text, nl=False)
        return
    target = Path(output) if output else Path(_file_name(drawn.picture.name, path, chosen))
    write_whole(target, [text.encode("utf-8", "backslashreplace")], force=force)
    click.echo(f"{printable(str(target))}: {printable(drawn.title)}")


def _form(output: str | None) -> str:
    """The format that a file's name tells; SVG without one. Raises NetcError C160 for an ending that is another's."""
    from netc.look.draw import ENDINGS

    ending = Path(output).suffix.lower() if output else ""
    if ending and ending not in ENDINGS:
        hint = f"say which with --format, or let the name end in {', '.join(ENDINGS)}"
        raise NetcError("C160", f'"{output}" does not tell the format', None, hint)
    return ENDINGS[ending] if ending else "svg"


def _file_name(name: str, path: str, form: str) -> str:
    """A file in this folder, named after the net, without letters that mean something to a shell or in a path."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:100]
    stem = plain or re.sub(r"[^A-Za-z0-9._-]+", "_", Path(path).stem).strip("._-") or "net"
    return stem + {"mermaid": ".mmd"}.get(form, f".{form}")
