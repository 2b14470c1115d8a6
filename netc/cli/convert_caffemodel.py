"""`netc convert-caffemodel`: a weight file in the format another program reads, with its proof."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netc.cli._options import Real, Whole, force_option, json_option, json_text, net_options, output_option
from netc.errors import NetcError, Place, printable
from netc.runtime.export.formats import SUFFIXES

if TYPE_CHECKING:
    from netc.check.probe import Told
    from netc.runtime.export.convert import Conversion


@click.command("convert-caffemodel")
@click.argument("file", metavar="FILE")
@click.option("--net", metavar="NET", help="The net, best its deploy.prototxt (default: the one in FILE).")
@click.option(
    "--to", type=click.Choice(list(SUFFIXES)), help="The format (default: told by OUT's name, else safetensors)."
)
@output_option("OUT", "The new file (default: beside FILE).")
@click.option("--rgb", is_flag=True, help="Fold channel order, scale and mean into the first convolution.")
@click.option("--mean", default="", metavar="MEAN", help="104,117,123 (blue, green, red) or a .binaryproto.")
@click.option("--scale", type=Real(), metavar="S", help="Factor after the mean is taken away.")
@click.option("--crop", type=Whole(min=1), metavar="N", help="Side of the input, in pixels.")
@click.option("--classes", type=click.Path(path_type=Path), metavar="LIST", help="Names of the classes, one a line.")
@click.option("--run", "run_net", is_flag=True, help="Run the net on both sides for the formats of weights alone, too.")
@click.option(
    "--tolerance",
    type=Real(min=0),
    default=1e-4,
    show_default=True,
    metavar="T",
    help="Largest difference of a run, relative to the blob's largest value.",
)
@click.option("--report", type=click.Path(path_type=Path), metavar="REPORT", help="Write the whole proof, as JSON.")
@net_options("convert", "The phase to convert the net for.", default="TEST")
@force_option
@json_option
def command(
    file: str,
    net: str | None,
    to: str | None,
    output: str | None,
    rgb: bool,
    mean: str,
    scale: float | None,
    crop: int | None,
    classes: Path | None,
    run_net: bool,
    tolerance: float,
    report: Path | None,
    phase: str,
    level: int,
    stages: list[str],
    told: Told,
    force: bool,
    as_json: bool,
) -> None:
    """Convert the weights in FILE, of any format that netc reads, and prove the result.

    What was written is read again and compared bit by bit; what holds a computation (torchvision, onnx, pt2) is run
    beside netc on a fixed random input. If anything differs, no file is left. docs/weights.md describes the formats.
    """
    from netc.files.hashing import Hashing, short_turns

    if output == "-":
        raise NetcError(
            "C162", "a conversion is proved as a file, and stdout is not a file", None, "give a name with -o"
        )
    click.get_current_context().with_resource(short_turns())
    hashing = Hashing.begun(file)  # before anything heavy is imported
    from netc.runtime.export.convert import Options, convert

    if report is not None:
        _check_report(report, [file, net, classes], to or "", output)
    names = _names(classes) if classes is not None else ()
    told.used = True  # the conversion says if it was not
    options = Options(_located(net), to or "", rgb, run_net, mean, scale, crop, told.shapes, names, tolerance)
    options = replace(options, phase=phase, level=level, stages=stages, force=force)
    with _reporting(report, force) as write:
        made = convert(file, output, options, hashing)
        found = made.as_dict()
        write(json_text(found) + "\n")
    click.echo(json_text(found) if as_json else "\n".join(lines(made)))


def _located(net: str | None) -> str | None:
    from netc.files.shipped import locate

    return None if net is None else locate(net, "deploy.prototxt")


_MOST_NAMES = 1 << 24


def _names(path: Path) -> list[str]:
    from netc.files.lines import numbered, read_text
    from netc.files.opening import open_regular

    open_regular(path).close()  # a file that is missing is told by the frame
    names = [line for _, line in numbered(read_text(str(path), "list of classes", _MOST_NAMES))]
    try:
        "".join(names).encode()
        return names
    except UnicodeEncodeError:
        raise NetcError(
            "W766", "the names of classes are not UTF-8 text", Place(str(path)), "one name a line"
        ) from None


def _check_report(report: Path, read: Iterable[str | Path | None], to: str, out: str | None) -> None:
    """Raises NetcError C161 where the report would stand on what is read or made."""
    from netc.runtime.export.convert import default_out, format_of

    file, *_ = read = list(read)
    made = Path(out) if out else default_out(str(file), format_of(to, out))
    same = (path for path in read if path is not None and report.exists() and os.path.exists(path))
    if report.absolute() == made.absolute() or any(report.samefile(path) for path in same):
        raise NetcError("C161", f"{report} is read or made here, and the report would take its place", None, REPORT)


REPORT = "give another name with --report"


@contextmanager
def _reporting(path: Path | None, force: bool) -> Iterator[Callable[[str], None]]:
    """What writes the report; a place where none can be written is an error before the conversion, not after it."""
    from netc.files.durable import Staging

    if path is None:
        yield lambda text: None
        return
    with Staging(path, force=force) as staging:

        def write(text: str) -> None:
            staging.write(path, [text.encode()])
            staging.publish()

        yield write


def lines(made: Conversion) -> list[str]:
    """For a reader."""
    from netc.errors.words import in_bytes

    rows = [
        f"{made.out}: {made.format}, {in_bytes(made.size)}",
        f"  from   {made.card.source}, sha256 {made.card.sha256}",
        f"  net    {made.card.net or 'without a name'}",
        f"  input  {made.card.preprocessing}",
        f"  proof  {made.parity.line()}",
        *(f"  note   {remark}" for remark in made.remarks),
    ]
    return [printable(row) for row in rows]
