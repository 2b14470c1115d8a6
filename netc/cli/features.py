"""`netc features`: descriptors of pictures by a trained net, into a file (appendix B)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from netc.cli._engine import calibrate_option, engine_options
from netc.cli._evaluate import PIXELS, spread, with_options
from netc.cli._options import MOST_THREADS, Whole, force_option, json_option, json_text, output_option, shape_option
from netc.cli._run import device_options
from netc.cli._status import BAD_DATA, DONE
from netc.errors import counted, printable

if TYPE_CHECKING:
    from netc.runtime.evaluate.describe import Description
    from netc.runtime.parallel.group import Group
    from netc.runtime.transfer.extract import Extracted

SETS = ("voc2007", "voc2012", "voc-action", "caltech101", "caltech256", "folder")


@click.command("features")
@click.argument("net", metavar="NET")
@click.argument("source", metavar="SOURCE")
@click.option("--weights", metavar="FILE", required=True, help="The net's weights.")
@output_option("FILE", "What to write: .safetensors, .npz, .h5 or .npy.")
@click.option("--set", "set_name", type=click.Choice(SETS), help="SOURCE is the folder of this data set.")
@click.option("--root", metavar="DIR", help="Where the names of a list start (default: its own folder).")
@click.option(
    "--blob", metavar="NAME", help="Whose values are taken (default: what the last layer with weights reads)."
)
@click.option("--scales", metavar="Q,…", help="Shorter sides to which pictures are rescaled (default: by the net).")
@click.option(
    "--combine",
    type=click.Choice(["average", "stack"]),
    default="average",
    show_default=True,
    help="What becomes of several scales.",
)
@click.option("--flip/--no-flip", default=True, show_default=True, help="Whether mirrored pictures count as well.")
@click.option(
    "--normalise/--no-normalise", default=True, show_default=True, help="Whether descriptors get the length 1."
)
@click.option("--fuse", metavar="NET:W", multiple=True, help="Stack with another net's features (repeatable).")
@click.option("--cache", metavar="DIR", help="Keep each picture's features here, and take those that are there.")
@click.option("--nproc", type=Whole(1, MOST_THREADS), metavar="N", help="Spread over N processes: the same bits.")
@with_options(PIXELS)
@shape_option()
@device_options
@engine_options
@calibrate_option
@force_option
@json_option
def command(net: str, source: str, output: str | None, as_json: bool, **options: Any) -> int:
    """Write features of pictures: what a trained net holds below its classifier.

    SOURCE is an LMDB, a list of names, or a folder of pictures or of sub-folders with pictures; with --set the folder
    of a data set as its authors ship it. Each picture goes through the net whole, at each scale, mirrored as well; its
    map is averaged over all places (docs/features.md). The file has a row a picture, their names, and how they were
    made. A picture that cannot be read is named in the file and has no row. netc svm measures such files.
    """
    if output is None:
        raise click.UsageError("say what to write: -o F.safetensors, .npz, .h5 or .npy")
    return spread(lambda group: _features(net, source, output, as_json, options, group), options["nproc"])


def _features(net: str, source: str, output: str, as_json: bool, options: dict[str, Any], group: Group) -> int:
    from netc.cli._evaluate import say_broken
    from netc.files.durable import refuse_existing
    from netc.runtime.transfer import files

    files.check_name(output)
    refuse_existing(*files.beside(output), force=options["force"])
    found = _extracted(net, source, options, group)
    if group.first:
        files.write(output, found.features, options["force"])
        say_broken(found.broken)
        click.echo(_json(output, found) if as_json else _line(output, found))
    return BAD_DATA if found.broken else DONE


def _extracted(net: str, path: str, options: dict[str, Any], group: Group) -> Extracted:
    from netc.cli._evaluate import counting, members_of, said_by, threads_of
    from netc.runtime.evaluate.describe import Describer
    from netc.runtime.transfer.extract import Extraction
    from netc.runtime.transfer.sets import pictures_of

    say = said_by(group)
    members = members_of(net, options["weights"], {**options, "view": None, "order": None}, group, say, Describer)
    source = pictures_of(path, options["root"], options["set_name"])
    try:
        for remark in source.remarks:
            say(remark)
        with counting("features", len(source), group) as done:
            run = Extraction(source, members, group, *threads_of(options, group), done)
            run.description = _description(members[0].protocol, options)
            return run.extracted()
    finally:
        source.close()


def _description(protocol: Any, options: dict[str, Any]) -> Description:
    from netc.runtime.evaluate.describe import Description

    return Description(protocol, options["combine"], options["normalise"])


def _json(output: str, found: Extracted) -> str:
    rows, dimensions = found.features.values.shape
    broken = [{"index": one.index, "message": one.error.message} for one in found.broken]
    return json_text(
        {"file": output, "rows": rows, "dimensions": dimensions, "facts": found.features.facts, "broken": broken}
    )


def _line(output: str, found: Extracted) -> str:
    rows, dimensions = found.features.values.shape
    nets = ", ".join(f"{one['blob']} of {one['weights']}" for one in found.features.facts["nets"])
    return printable(f"{output}: {counted(rows, 'row')} of {dimensions} features, {nets}")
