"""`netc classify`: what is on pictures, by a trained net."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from netc.cli._engine import calibrate_option, engine_options
from netc.cli._evaluate import INPUT, labels_of, wanted_of, with_options
from netc.cli._options import Whole, json_option, json_text, shape_option
from netc.cli._run import device_options
from netc.cli._status import BAD_DATA, DONE
from netc.errors import NetcError, printable

if TYPE_CHECKING:
    from netc.runtime.evaluate.classify import Answer


@click.command("classify")
@click.argument("images", metavar="IMAGE…", nargs=-1, required=True)
@click.option("--weights", metavar="FILE", required=True, help="The weights; a file that has its net brings it.")
@click.option("--net", metavar="NET", help="The net, where the weights do not bring it.")
@click.option("--labels", metavar="FILE", help="The names of the classes, a line each (default: those of the card).")
@click.option("--top", metavar="K", type=Whole(1), default=5, show_default=True, help="How many classes to print.")
@click.option(
    "--protocol",
    "view",
    type=click.Choice(["dense", "crops", "centre", "both"]),
    default="centre",
    show_default=True,
    help="What the net sees of a picture.",
)
@click.option("--scales", metavar="Q,…", help="Shorter sides to which pictures are rescaled (default: by the net).")
@click.option("--flip", is_flag=True, help="The mirrored picture counts as well.")
@with_options(INPUT)
@shape_option()
@device_options
@engine_options
@calibrate_option
@json_option
def command(images: tuple[str, ...], weights: str, net: str | None, top: int, as_json: bool, **options: Any) -> int:
    """Name what is on pictures: the most probable classes, with their probabilities.

    IMAGE is a picture, a folder (of all its pictures), or - for a list of names on the standard input. What the net's
    pixels are (mean, scale, size) is taken from the card of the weights or from the net; what neither says is asked
    for. A picture that cannot be read is named, and the others are answered.
    """
    from netc.cli._evaluate import calibrate, device_of, protocol_of, say
    from netc.files.shipped import locate
    from netc.runtime.evaluate.classify import answers
    from netc.runtime.evaluate.load import classifier_of
    from netc.runtime.parallel.group import Group

    wanted = wanted_of(options, device_of(options, Group(), options["threads"]))
    classifier = classifier_of(locate(net, "deploy.prototxt") if net else None, weights, wanted, say)
    calibrate(classifier, options, say)
    names = labels_of(options["labels"], classifier) or classifier.names
    protocol = protocol_of({**options, "order": None}, classifier)
    click.echo(f"{classifier.input}; {protocol}", err=True)
    paths = list(_paths(images))
    found, broken = [], []
    for answer in answers(classifier, protocol, paths, top, names):
        if isinstance(answer, NetcError):
            broken.append(answer)
            click.echo(str(answer), err=True)
        elif as_json:
            found.append(answer._asdict() | {"predictions": [one._asdict() for one in answer.predictions]})
        else:
            click.echo("\n".join(_lines(answer)))
    if as_json:
        said = [{"code": error.code, "message": error.message} for error in broken]
        click.echo(json_text({"images": found, "broken": said, "input": str(classifier.input)}))
    return BAD_DATA if broken else DONE


def _lines(answer: Answer) -> Iterator[str]:
    yield printable(answer.path)
    for one in answer.predictions:
        yield printable(f"  {one.probability:.4f}  {one.name if one.name is not None else f'class {one.label}'}")


def _paths(images: Sequence[str]) -> Iterator[str]:
    """Pictures as named, those of folders, and those of a list on stdin."""
    from netc.files.lines import MOST_BYTES, numbered
    from netc.files.opening import read_stdin

    for name in images:
        if name == "-":
            listed = [line for _, line in numbered(os.fsdecode(read_stdin(MOST_BYTES)))]
            if not listed:
                raise NetcError("D541", "the list on the standard input names no picture", None, "a name is a line")
            yield from listed
        elif os.path.isdir(name):
            yield from _of_folder(name)
        else:
            yield name


def _of_folder(folder: str) -> Iterator[str]:
    """All pictures below a folder, in the order of their names. Raises NetcError F140 where there is none."""
    from netc.errors import Place
    from netc.runtime.imageset.sources import EXTENSIONS

    count = 0
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in EXTENSIONS:
                count += 1
                yield os.path.join(parent, name)
    if not count:
        raise NetcError("F140", "no picture is in this folder", Place(folder))
