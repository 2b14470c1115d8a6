"""`netc draw`: a picture of a net, drawn by netc itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import output_option, shape_option, split
from netc.errors import NetcError, printable

if TYPE_CHECKING:
    from netc.check.probe import Told
    from netc.graph.filter import Layers
    from netc.graph.ir import Graph
    from netc.prototxt.draft import Draft

FORMATS = ("svg", "html", "dot", "mermaid")
SHAPELESS = frozenset({"L304", "F120", "G410"})
"""Errors that say no more than that shapes are not known: of the data, of a layer type. So do those of sections D and
X, which are about the data themselves."""


@click.command("draw", short_help="Draw a net as SVG, DOT or Mermaid.")
@click.argument("net", metavar="NET")
@output_option("FILE", "Where to write; - is stdout (default: the net's name with .svg).")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS, case_sensitive=False),
    help="What to write (default: by the ending of FILE, or SVG).",
)
@click.option(
    "--phase",
    type=click.Choice(["TRAIN", "TEST"], case_sensitive=False),
    help="The phase to draw (default: TRAIN where the net has a loss).",
)
@click.option("--level", default=0, metavar="N", help="The level to draw.")
@click.option("--stage", "stages", multiple=True, metavar="NAMES", help="Stages to draw, with commas or repeated.")
@shape_option()
def command(
    net: str, output: str | None, form: str | None, phase: str | None, level: int, stages: tuple[str, ...], told: Told
) -> None:
    """Draw a net: its layers as boxes, with settings and parameters, and the shapes of what flows between them.

    NET is a file or the name of a net that comes with netc, such as vgg_E. SVG and HTML open in any browser; DOT is for
    Graphviz, Mermaid for Markdown. A layer in place stands in the box of the layer that it works on. Where the data of
    a net are not here, or a layer's type is not known, it is drawn without shapes.
    """
    from netc.files.shipped import locate
    from netc.look.draw import FORMATS as WRITERS

    chosen = form.lower() if form else _form(output)
    path = locate(net, "train_val.prototxt")
    names = [name for given in stages for name in split(given)]
    title, made = _picture(path, phase, level, names, told)
    text = WRITERS[chosen](made, title)
    if output == "-":
        click.echo(text, nl=False)
        return
    target = Path(output) if output else Path(_file_name(made.name, path, chosen))
    _write(target, text)
    click.echo(f"{printable(str(target))}: {printable(title)}")


def _form(output: str | None) -> str:
    """The format that a file's name tells; SVG without one. Raises NetcError C160 for an ending that is another's."""
    from netc.look.draw import ENDINGS

    ending = Path(output).suffix.lower() if output else ""
    if ending and ending not in ENDINGS:
        hint = f"say which with --format, or let the name end in {', '.join(ENDINGS)}"
        raise NetcError("C160", f'"{output}" does not tell the format', None, hint)
    return ENDINGS[ending] if ending else "svg"


def _picture(path: str, phase: str | None, level: int, stages: list[str], told: Told) -> tuple[str, Any]:
    from netc.graph.filter import NAMES, filter_net, state_of
    from netc.graph.read import draft_net
    from netc.look.draw import picture

    draft = draft_net(Path(path))
    number = NAMES.index(phase.upper()) if phase else _usual_phase(draft)
    layers = filter_net(draft, state_of(draft, number, level, stages))
    graph = _graph(layers, told)
    made = picture(layers, graph, NAMES[number])
    made.name = made.name or Path(path).stem
    return _title(made, graph), made


def _usual_phase(draft: Draft) -> int:
    """TRAIN where something in the file is a loss, TEST in a net for use."""
    from netc.look.draw.words import kind_of

    return 0 if any(kind_of(layer.type) == "loss" for layer in draft.param.layer) else 1


def _graph(layers: Layers, told: Told) -> Graph | None:
    """The compiled net, or None (and a word about it) where only shapes cannot be known."""
    from netc.check.probe import Probe
    from netc.graph.compile import compile_layers

    probe = Probe(layers.draft.path, told)
    try:
        graph = compile_layers(layers, probe)
    except NetcError as error:
        if any(one.code not in SHAPELESS and one.code[0] not in "DX" for one in error.errors):
            raise
        hint = f" ({error.hint})" if error.hint and error.code == "F120" else ""
        click.echo(f"drawn without shapes: {printable(error.message + hint)}", err=True)
        return None
    for note in probe.notes:
        click.echo(f"note: {printable(note)}", err=True)
    return graph


def _title(made: Any, graph: Graph | None) -> str:
    from netc.check.analyse import analyse
    from netc.cli._human import scaled

    name = f"{made.name} ({made.phase})"
    if graph is None:
        return name
    costs = analyse(graph)
    return f"{name}: {costs.params:,} parameters, {scaled(costs.macs)} multiply-adds an image"


def _file_name(name: str, path: str, form: str) -> str:
    """A file in this folder, named after the net, without letters that mean something to a shell or in a path."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:100]
    stem = plain or re.sub(r"[^A-Za-z0-9._-]+", "_", Path(path).stem).strip("._-") or "net"
    return stem + {"mermaid": ".mmd"}.get(form, f".{form}")


def _write(target: Path, text: str) -> None:
    """The whole file or none of it. Raises NetcError O165, O166 or O167 where it cannot be written."""
    from netc.files.durable import Staging

    with Staging(target) as staging:
        staging.path.write_bytes(text.encode("utf-8", "backslashreplace"))
        staging.publish()
