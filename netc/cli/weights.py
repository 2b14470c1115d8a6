"""`netc weights`: what is in a weight file, and how two of them differ."""

from __future__ import annotations

from typing import Any

import click

from netc.cli._options import Real, json_option, json_text
from netc.cli._status import DONE, FAILED


@click.command("weights")
@click.argument("files", nargs=-1, required=True, metavar="FILE | diff A B")
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="Only this layer (may be repeated).")
@click.option("--tolerance", type=Real(min=0), default=0.0, metavar="X", help="diff: values this far apart are equal.")
@click.option(
    "--relative",
    type=Real(min=0),
    default=0.0,
    metavar="X",
    help="diff: so are values apart by this share of the larger.",
)
@json_option
def command(files: tuple[str, ...], layers: tuple[str, ...], tolerance: float, relative: float, as_json: bool) -> int:
    """Show what a weight file holds: layers, shapes, statistics and a hash of each blob.

    FILE is a .caffemodel of any age, a .caffemodel.h5, .safetensors or .npz, a .solverstate or a .binaryproto. A hash
    is the SHA-256 of the blob's shape ("64,3,3,3", a line feed; 1s in front left out) and its values as little-endian
    float32, so a blob has the same hash in every format.

    `netc weights diff A B` compares two of them, of any formats: which blobs only one has, whose shapes or values
    differ and by how much. The exit status is 0 if they are equal, 1 if they are not. (A file that is called diff is
    ./diff.)
    """
    if files[0] == "diff":
        if len(files) != 3:
            raise click.UsageError("diff takes two files: netc weights diff A B")
        return _diff(files[1], files[2], layers, (tolerance, relative), as_json)
    if len(files) > 1:
        raise click.UsageError("give one file, or two after the word diff: netc weights diff A B")
    return _show(files[0], layers, as_json)


def _show(path: str, layers: tuple[str, ...], as_json: bool) -> int:
    from netc.cli._weights_report import as_dict, lines, selected, summaries
    from netc.weights.contents import contents

    found = contents(path)
    chosen = selected(found, layers)
    summed = summaries(chosen)
    click.echo(json_text(as_dict(found, chosen, summed)) if as_json else "\n".join(lines(found, chosen, summed)))
    return DONE


def _diff(a: str, b: str, layers: tuple[str, ...], tolerance: tuple[float, float], as_json: bool) -> int:
    from netc.cli._weights_report import diff_as_dict, diff_lines, selected
    from netc.weights.compare import FINE, compare, facts_that_differ
    from netc.weights.contents import contents

    both = contents(a), contents(b)
    for found in both:
        found.parts = selected(found, layers, missing=False)
    if layers:
        _must_know(layers, both)
    differences = list(compare(*both, *tolerance))
    facts = facts_that_differ(*both)
    equal = all(one.verdict in FINE for one in differences) and not facts
    said = (both, differences, facts, equal)
    click.echo(json_text(diff_as_dict(*said)) if as_json else "\n".join(diff_lines(*said)))
    return DONE if equal else FAILED


def _must_know(layers: tuple[str, ...], both: Any) -> None:
    from netc.errors import NetcError, Place

    known = {part.name for found in both for part in found.parts}
    for name in layers:
        if name not in known:
            raise NetcError("W744", f'neither file has a layer "{name}"', Place(both[0].path))
