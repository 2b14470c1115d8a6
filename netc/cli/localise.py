"""`netc localise`: where the objects on pictures are, drawn and as JSON."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netc.cli._localise import localisation_options, system_of
from netc.cli._options import Whole, force_option, json_option, json_text
from netc.cli._run import one_device
from netc.cli._status import BAD_DATA, DONE
from netc.errors import NetcError, counted, printable

if TYPE_CHECKING:
    from netc.runtime.data.datum import Picture
    from netc.runtime.localise.nets import System
    from netc.runtime.localise.predict import Located

JSON_NAME = "boxes.json"


@click.command("localise")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…", type=click.Path(path_type=Path))
@click.option("--net", "nets", metavar="NET", multiple=True, required=True, help="A net that predicts boxes.")
@click.option("--weights", metavar="FILE", multiple=True, required=True, help="Its weights.")
@localisation_options
@click.option("--label", metavar="CLASS", help="The class that is looked for: its number, or its name in --labels.")
@click.option("--labels", metavar="FILE", type=click.Path(path_type=Path), help="The names of the classes.")
@click.option("--top", metavar="K", type=Whole(1), default=1, show_default=True, help="How many classes to locate.")
@click.option("--scales", metavar="Q,…", help="Shorter sides of the pictures (default: that of the net's test data).")
@click.option("--mean", default="", metavar="B,G,R", help="The mean of the images, if the net does not say it.")
@click.option("--gpu", metavar="N", help="The GPU to use (default: the CPU).")
@click.option(
    "-o",
    "--output",
    "--out",
    "folder",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Where the drawings go.",
)
@force_option
@json_option
def command(
    images: tuple[Path, ...],
    nets: tuple[str, ...],
    weights: tuple[str, ...],
    label: str | None,
    labels: Path | None,
    top: int,
    folder: Path,
    force: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Find the object of each class on pictures (files, or folders of them) and draw its box into DIR.

    The nets look at every place of each picture at every scale; boxes that lie close together are merged, and the one
    that the classifier's scores add up to most is the class's (docs/localisation.md). Without a classifier a net with
    one box for all classes gives that box; one with a box for each class needs --label. DIR/boxes.json has the boxes as
    x1 y1 x2 y2 in pixels.
    """
    from netc.runtime.solver.log import stderr

    names = _names(labels)
    wanted = _number(label, names)
    paths = list(_files(images))
    targets = _targets(paths, folder)
    _refuse(folder, targets, force)
    system = system_of(list(nets), list(weights), device=one_device(options.pop("gpu"), stderr()), **options)
    found, failed = [], []
    for path, target in zip(paths, targets, strict=True):
        try:
            found.append(_localise(system, path, target, wanted, top, names))
        except NetcError as error:
            if error.code != "D520":
                raise
            failed.append({"image": str(path), "reason": error.message})
            click.echo(printable(f"{path}: {error.message}"), err=True)
    _write_json(folder, found, failed)
    click.echo(json_text({"images": found, "failed": failed}) if as_json else "\n".join(_lines(found)))
    if failed:
        click.echo(f"{counted(len(failed), 'picture')} of {len(paths)} could not be used", err=True)
    return BAD_DATA if failed else DONE


def _names(labels: Path | None) -> Sequence[str]:
    from netc.runtime.imageset import read_classes

    return read_classes(labels) if labels is not None else ()


def _number(label: str | None, names: Sequence[str]) -> int | None:
    if label is None:
        return None
    if label in names:
        return names.index(label)
    if label.isascii() and label.isdigit() and len(label) < 10:
        return int(label)
    raise click.UsageError(f'"{label}" is neither the number of a class nor a name in --labels')


def _files(images: Sequence[Path]) -> Iterator[Path]:
    """The pictures that are named, and those in folders. Raises F140 for nothing of that name, D541 for no picture."""
    from netc.runtime.imageset.sources import EXTENSIONS, missing

    for path in images:
        if not path.exists():
            raise missing(path, "picture")
        if not path.is_dir():
            yield path
            continue
        inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in EXTENSIONS and one.is_file())
        if not inside:
            raise NetcError("D541", f"no picture lies in the folder {path}")
        yield from inside


def _targets(paths: Sequence[Path], folder: Path) -> list[Path]:
    """A file for each picture: its name with .png, with a number where another has that name. Raises UsageError where
    that is one of the pictures."""
    taken: dict[str, None] = {}
    for path in paths:
        names = chain([path.stem], (f"{path.stem}-{number}" for number in count(2)))
        taken[next(name for name in names if name not in taken)] = None
    targets = [folder / f"{name}.png" for name in taken]
    if {target.resolve() for target in targets} & {path.resolve() for path in paths}:
        raise click.UsageError(f"the drawings would take the place of pictures in {folder}: give another folder")
    return targets


def _refuse(folder: Path, targets: Sequence[Path], force: bool) -> None:
    from netc.files.durable import refuse_existing

    if folder.exists() and not folder.is_dir():
        raise NetcError("O145", f"{folder} is a file, and a folder is needed", None, "give another name")
    folder.mkdir(parents=True, exist_ok=True)
    refuse_existing(*targets, folder / JSON_NAME, force=force)


def _localise(
    system: System, path: Path, target: Path, wanted: int | None, top: int, names: Sequence[str]
) -> dict[str, Any]:
    from netc.files.durable import write_whole
    from netc.runtime.data.decoding import as_array
    from netc.runtime.localise.draw import Drawn, drawing

    picture = _read(path)
    boxes = system.best(picture, top) if wanted is None else [system.of_class(picture, wanted)]
    words = [_words(one, names) for one in boxes]
    image = drawing(as_array(picture.pixels), [Drawn(one.box.tolist(), said) for one, said in zip(boxes, words)])
    file = io.BytesIO()
    image.save(file, "PNG")
    write_whole(target, [file.getvalue()])
    _, height, width = picture.size
    listed = [_as_dict(one, names) for one in boxes]
    return {"image": str(path), "width": width, "height": height, "drawn": str(target), "boxes": listed}


def _read(path: Path) -> Picture:
    """The picture as it is to be seen, with three channels. Raises NetcError D520."""
    from netc.runtime.data.datum import Picture
    from netc.runtime.data.decoding import Undecodable, as_array, decode, read_picture

    try:
        return Picture(as_array(decode(read_picture(path), True).pixels), 0.0, str(path))
    except NetcError as error:
        raise NetcError("D520", error.message) from None
    except (OSError, Undecodable) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NetcError("D520", f"the picture cannot be used: {reason}") from None


def _words(one: Located, names: Sequence[str]) -> str:
    if one.label is None:
        return ""
    name = names[one.label] if one.label < len(names) else str(one.label)
    return f"{name} {one.score:.2f}"


def _as_dict(one: Located, names: Sequence[str]) -> dict[str, Any]:
    known = one.label is not None and one.label < len(names)
    name = names[one.label] if known and one.label is not None else None
    return {"label": one.label, "name": name, "box": [round(edge, 3) for edge in one.box.tolist()], "score": one.score}


def _lines(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    for one in found:
        for box in one["boxes"]:
            edges = " ".join(f"{edge:.1f}" for edge in box["box"])
            name = "" if box["label"] is None else f"  {printable(box['name'] or str(box['label']))}"
            yield f"{printable(one['image'])}{name}  {edges}  score {box['score']:.3f}"


def _write_json(folder: Path, found: Sequence[dict[str, Any]], failed: Sequence[dict[str, Any]]) -> None:
    from netc.files.durable import write_whole

    write_whole(folder / JSON_NAME, [(json_text({"images": found, "failed": failed}) + "\n").encode()])
