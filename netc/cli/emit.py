"""`netc emit`: a net as one readable file of PyTorch code."""

from __future__ import annotations

import keyword
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netc.cli._options import force_option, net_options, output_option
from netc.errors import NetcError, Place, printable

if TYPE_CHECKING:
    from netc.check.probe import Told


@click.command("emit")
@click.argument("net", metavar="NET")
@output_option("OUT.py", "The file to write; - is stdout.")
@net_options("write the net for", "The phase to write the net for.", default="TEST")
@click.option("--weights", metavar="FILE", help="Write these weights too, to OUT.safetensors.")
@force_option
@click.option("--class-name", metavar="NAME", help="The name of the class (default: from the net's).")
def command(
    net: str,
    output: str | None,
    phase: str,
    level: int,
    stages: list[str],
    weights: str | None,
    class_name: str | None,
    told: Told,
    force: bool,
) -> None:
    """Write NET as a torch.nn.Module that needs torch alone, with the prototxt's lines and the shapes in comments.

    NET is a net, or the name of one that comes with netc, such as vgg_D. Without -o the code goes to stdout. The keys
    of the module's state_dict are those of netc and of the files that `netc convert-caffemodel` makes.
    """
    from netc.files.durable import refuse_existing
    from netc.files.shipped import locate
    from netc.look.emit import emit
    from netc.look.emit.files import compiled, write

    path = locate(net, "train_val.prototxt" if phase == "TRAIN" else "deploy.prototxt")
    out = Path(output) if output and output != "-" else None
    _check(path, out, weights, class_name)
    if out is not None:
        refuse_existing(out, *([out.with_suffix(".safetensors")] if weights else []), force=force)
    graph = compiled(path, phase, level, stages, told)
    emission = emit(graph, class_name, out.name if out else "")
    if out is None:
        click.echo(emission.code, nl=False)
        return
    write(out, emission.code, graph, weights, force)
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
