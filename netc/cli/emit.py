"""`netc emit`: a net as one readable file of PyTorch code."""

from __future__ import annotations

import keyword
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netc.cli._options import output_option, shape_option, split
from netc.errors import NetcError, Place, printable

if TYPE_CHECKING:
    from netc.check.probe import Told
    from netc.graph.ir import Graph


@click.command("emit", short_help="Write a net as one file of PyTorch code.")
@click.argument("net", metavar="NET")
@output_option("OUT.py", "The file to write; - is stdout.")
@click.option(
    "--phase",
    type=click.Choice(["TRAIN", "TEST"], case_sensitive=False),
    default="TEST",
    show_default=True,
    help="The phase to write the net for.",
)
@click.option("--level", default=0, metavar="N", help="The level to write the net for.")
@click.option(
    "--stage", "stages", multiple=True, metavar="NAMES", help="Stages to write it for, with commas or repeated."
)
@click.option("--weights", metavar="FILE", help="Write these weights too, to OUT.safetensors.")
@click.option("--class-name", metavar="NAME", help="The name of the class (default: from the net's).")
@shape_option()
def command(
    net: str,
    output: str | None,
    phase: str,
    level: int,
    stages: tuple[str, ...],
    weights: str | None,
    class_name: str | None,
    told: Told,
) -> None:
    """Write NET as a torch.nn.Module that needs torch alone, with the prototxt's lines and the shapes in comments.

    NET is a net, or the name of one that comes with netc, such as vgg_D. Without -o the code goes to stdout. The keys
    of the module's state_dict are those of netc and of the files that `netc convert-caffemodel` makes.
    """
    from netc.files.shipped import locate
    from netc.look.emit import emit

    path = locate(net, "train_val.prototxt" if phase.upper() == "TRAIN" else "deploy.prototxt")
    out = Path(output) if output and output != "-" else None
    _check(path, out, weights, class_name)
    graph = _compiled(path, phase, level, [name for given in stages for name in split(given)], told)
    emission = emit(graph, class_name, out.name if out else "")
    if out is None:
        click.echo(emission.code, nl=False)
        return
    _write(out, emission.code, graph, weights)
    also = f" and {out.with_suffix('.safetensors')}" if weights else ""
    click.echo(printable(f"wrote {out}{also}: class {emission.class_name}"), err=True)


def _check(net: str, output: Path | None, weights: str | None, class_name: str | None) -> None:
    """The options, before anything is read."""
    from netc.look.emit.source import is_free

    if class_name is not None and not (
        class_name.isascii() and class_name.isidentifier() and not keyword.iskeyword(class_name) and is_free(class_name)
    ):
        raise NetcError("C170", f'"{class_name}" cannot be the name of the class', None, "give a Python identifier")
    if weights is not None and output is None:
        raise NetcError("C171", "--weights needs a file to write them beside", None, "add -o OUT.py")
    if output is not None and output.is_dir():
        raise NetcError("O165", "the file cannot be written: Is a directory", Place(str(output)), "give another place")
    if weights is not None and output is not None and output.suffix == ".safetensors":
        raise NetcError("C172", f"{output} would hold the weights, not the code", None, "let -o end in .py")
    for read in (net, weights) if output else ():
        for written in (output, output.with_suffix(".safetensors")) if read and output else ():
            if os.path.exists(written) and os.path.samefile(written, str(read)):
                loads = "; the code loads it as it is, without --weights" if written.suffix == ".safetensors" else ""
                hint = f"give another -o{loads}"
                raise NetcError("C172", f"{written} would be overwritten, and it is read", None, hint)


def _compiled(path: str, phase: str, level: int, stages: Iterable[str], told: Told) -> Graph:
    from netc.check.probe import Probe
    from netc.graph.compile import compile_net

    return compile_net(Path(path), phase, level, stages, Probe(path, told))


def _write(output: Path, code: str, graph: Graph, weights: str | None) -> None:
    """Both files, or neither."""
    from netc.files.durable import Staging
    from netc.weights.formats.safetensors import write_safetensors
    from netc.weights.model import open_for

    model = open_for(graph, weights) if weights is not None else None
    with Staging(output) as staging:
        staging.path.write_text(code, "utf-8")
        if model is not None:
            tensors = {entry.key: entry.array for entry in model.entries}
            write_safetensors(staging.path.with_suffix(".safetensors"), tensors, metadata={"format": "pt"})
        staging.publish()
