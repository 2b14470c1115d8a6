"""`netc optimise`: a net with its fixed layers folded into the weights, as Caffe's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netc.cli._options import force_option, json_option, json_text, net_options, output_option
from netc.errors import counted, printable

if TYPE_CHECKING:
    from netc.check.probe import Told
    from netc.runtime.export.optimise import Made


@click.command("optimise")
@click.argument("net", metavar="NET")
@click.option("--weights", metavar="FILE", required=True, help="Its weights, in any format that netc reads.")
@output_option("OUT", "OUT.prototxt and OUT.caffemodel are written (default: NET with _optimised).")
@click.option("--keep", metavar="BLOB", multiple=True, help="A blob that must still be there (repeatable).")
@net_options("optimise", "The phase.", phases=("TEST",), default="TEST")
@force_option
@json_option
def command(
    net: str,
    weights: str,
    output: str | None,
    keep: tuple[str, ...],
    phase: str,
    level: int,
    stages: list[str],
    told: Told,
    force: bool,
    as_json: bool,
) -> None:
    """Fold what is fixed in TEST into the weights, prove the result, and write a net with fewer layers.

    BatchNorm, Scale, Bias and Power go into the convolution or inner product beside them, Dropout and Splits go.
    The net is that of deployment: without losses, with inputs for data. Caffe and OpenCV read both files. Where a layer
    must stay, the output says why.
    """
    from pathlib import Path

    from netc.files.shipped import locate
    from netc.runtime.export.optimise import optimise
    from netc.weights.asked import Asked
    from netc.weights.model import open_model

    path = locate(net, "deploy.prototxt")
    told.used = True
    source = open_model(weights, path, asked=Asked(phase, level, stages, told.shapes))
    made = optimise(source, output or str(Path(f"{Path(net).stem}_optimised")), keep, force)
    click.echo(json_text(made.as_dict()) if as_json else "\n".join(lines(made)))


def lines(made: Made) -> list[str]:
    """For a reader."""
    result = made.result
    rows = [
        f"{made.net}, {made.weights}: {counted(made.before, 'layer')} before, {made.after} now",
        f"  folded   {len(result.folded)}, removed {len(result.removed)}",
        f"  proof    {made.parity.line()}",
        *(f'  left     "{name}" ({kind}): {why}' for name, kind, why in result.left),
    ]
    if result.gone:
        rows.append(f"  gone     blobs {', '.join(result.gone)}; --keep keeps one")
    return [printable(row) for row in rows]
