"""`netc convert-imageset`: pictures → an LMDB (Caffe's convert_imageset, and a form for folders of pictures)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import MOST_THREADS, Whole, json_option, json_text
from netc.cli._progress import progress_bar
from netc.cli._status import BAD_DATA, DONE
from netc.errors import NetcError, counted, printable

if TYPE_CHECKING:
    from netc.runtime.imageset import Annotations, Listing, Recipe, Summary
    from netc.runtime.imageset.boxes.base import Box

SHOWN = 10


@click.command("convert-imageset")
@click.argument("paths", nargs=-1, metavar="ROOT [LISTFILE] DB", type=click.Path(path_type=Path))
@click.option("--gray/--no-gray", help="One channel instead of three.")
@click.option("--shuffle/--no-shuffle", default=None, help="Put the pictures in a random order (folders: the default).")
@click.option("--seed", type=Whole(0, 2**63 - 1), default=0, show_default=True, help="Which random order.")
@click.option("--backend", default="lmdb", show_default=True, help="Kind of database: netc writes LMDB.")
@click.option(
    "--resize-width", type=Whole(), default=0, metavar="W", help="Width to resize to; the height must be given too."
)
@click.option(
    "--resize-height", type=Whole(), default=0, metavar="H", help="Height to resize to; the width must be given too."
)
@click.option(
    "--short-side",
    type=Whole(1, 1 << 14),
    metavar="N",
    help="Resize the shorter side to N, keeping the shape.",
)
@click.option("--check-size/--no-check-size", help="Fail if two pictures differ in size.")
@click.option("--encoded/--raw", default=None, help="Store compressed files (folders: the default) or pixels (lists).")
@click.option("--encode-type", default="", metavar="T", help="Type of the compressed files: jpg, png, …")
@click.option(
    "--quality", type=Whole(), default=95, show_default=True, help="Quality of the JPEGs that are written anew."
)
@click.option("--ignore-orientation", is_flag=True, help="Leave pictures as stored, whatever their EXIF block says.")
@click.option("--labels", type=click.Path(path_type=Path), help="File of the classes' names in the order of labels.")
@click.option(
    "--ground-truth",
    type=click.Path(path_type=Path),
    help="A devkit's classes of the numbered pictures in ROOT, which has no folders (with --synsets and --labels).",
)
@click.option(
    "--synsets", type=click.Path(path_type=Path), help="Which synset each number of --ground-truth is: meta.mat."
)
@click.option(
    "--boxes",
    type=click.Path(path_type=Path),
    help="Boxes to store with the pictures: a folder of XML files, COCO's .json, or a table of lines.",
)
@click.option("--allow-missing/--no-allow-missing", help="Exit with 0 even if pictures had to be left out.")
@click.option("--workers", type=Whole(1, MOST_THREADS), help="Threads that decode (default: one a core).")
@json_option
def command(paths: tuple[Path, ...], as_json: bool, allow_missing: bool, **options: Any) -> int:
    """Make the LMDB called DB of pictures.

    With LISTFILE, its lines are "name label": names start from the folder ROOT, labels are whole numbers, and 0 where
    a line has none. Pixels are stored unless --encoded is given. Without LISTFILE, each sub-folder of ROOT is a class;
    the files are stored as they are, in random order, and the classes' names go to DB.labels.txt. ImageNet's validation
    set, which is one folder, takes its labels from the devkit: --ground-truth, --synsets and --labels
    (docs/imagenet.md).

    With --boxes the pictures' boxes go into the records (docs/localisation.md). Where the pictures lie in ROOT itself,
    their classes are those of the boxes. Pictures without a box are left out.

    Pictures that are missing or damaged are left out, counted, and make the exit status 65 unless --allow-missing is
    given. DB must not exist yet, and appears only when it is complete.
    """
    root, list_file, database = _places(paths)
    recipe = recipe_of(options, folders=list_file is None)
    boxes = _boxes(options)
    listing = _listing(root, list_file, boxes, options)
    with progress_bar("converting") as progress:
        from netc.runtime.imageset import build

        kept = {"check_size": options["check_size"], "workers": options["workers"], "boxes": boxes}
        summary = build(listing, database, recipe, progress=progress, **kept)
    if bool(options["resize_height"]) != bool(options["resize_width"]):
        summary.warnings.insert(0, "not resized: that needs --resize-height and --resize-width both, as in Caffe")
    _print(summary, listing, as_json)
    return DONE if allow_missing or not (summary.skipped or summary.left_out) else BAD_DATA


def _boxes(options: dict[str, Any]) -> Annotations | None:
    from netc.runtime.imageset import read_annotations

    if options["boxes"] is None:
        return None
    if options["ignore_orientation"]:
        message = "boxes are those of upright pictures, which --ignore-orientation does not make: give one of them"
        raise NetcError("C140", message)
    return read_annotations(options["boxes"])


def _places(paths: tuple[Path, ...]) -> tuple[Path, Path | None, Path]:
    if len(paths) == 2:
        return paths[0], None, paths[1]
    if len(paths) == 3:
        return paths[0], paths[1], paths[2]
    raise click.UsageError(f"ROOT DB or ROOT LISTFILE DB is needed, and {len(paths)} names are given")


def recipe_of(options: dict[str, Any], folders: bool) -> Recipe:
    """The options as a Recipe. Raises C140 where they contradict one another or do not exist."""
    from netc.runtime.imageset import Recipe

    height, width, encode_type = options["resize_height"], options["resize_width"], options["encode_type"].lower()
    _check(options, height, width, encode_type)
    return Recipe(
        gray=options["gray"],
        size=(height, width) if height and width else None,
        short_side=options["short_side"] or 0,
        encoded=bool(encode_type) or (folders if options["encoded"] is None else options["encoded"]),
        encode_type=encode_type,
        quality=options["quality"],
        upright=not options["ignore_orientation"],
    )


def _check(options: dict[str, Any], height: int, width: int, encode_type: str) -> None:
    from netc.runtime.imageset.pictures import FORMATS

    if min(height, width) < 0 or max(height, width) > 1 << 14:
        raise NetcError("C140", "sizes go from 1 to 16384 pixels (0: not resized)")
    if (height or width) and options["short_side"]:
        raise NetcError("C140", "--short-side keeps a picture's shape, --resize-… change it: give one of them")
    if options["backend"].lower() != "lmdb":
        raise NetcError("C140", f'"{options["backend"]}" is not a kind of database that netc writes: only lmdb is')
    if encode_type and encode_type not in FORMATS:
        raise NetcError("C140", f'"{encode_type}" is not a type that can be written: {", ".join(FORMATS)} are')
    if encode_type and options["encoded"] is False:
        raise NetcError("C140", "--encode-type is the type of a compressed file, --raw stores none: give one of them")
    if not 1 <= options["quality"] <= 100:
        raise NetcError("C140", f"--quality goes from 1 to 100, not {options['quality']}")


def _listing(root: Path, list_file: Path | None, boxes: Annotations | None, options: dict[str, Any]) -> Listing:
    from dataclasses import replace

    from netc.runtime.imageset import from_boxes, from_folders, from_ground_truth, from_list, read_classes

    truth, synsets = _ground_truth(list_file, options)
    classes = read_classes(options["labels"]) if options["labels"] else ()
    if truth is not None:
        listing = from_ground_truth(root, truth, synsets, classes)
    elif list_file is None and boxes is not None and not _has_folders(root):
        listing = from_boxes(root, boxes, classes)
    elif list_file is None:
        listing = from_folders(root, classes)
    else:
        listing = replace(from_list(root, list_file), classes=classes)
    shuffle = (list_file is None and truth is None) if options["shuffle"] is None else options["shuffle"]
    return listing.shuffled(options["seed"]) if shuffle else listing


def _has_folders(root: Path) -> bool:
    """Whether a folder has sub-folders, which then are classes."""
    return root.is_dir() and any(path.is_dir() and not path.name.startswith(".") for path in root.iterdir())


def _ground_truth(list_file: Path | None, options: dict[str, Any]) -> tuple[Path | None, Path]:
    """--ground-truth and --synsets. Raises C140 where one of the two, --labels, or both ways to labels are given."""
    truth, synsets = options["ground_truth"], options["synsets"]
    if truth is None and synsets is None:
        return None, Path()
    if list_file is not None:
        raise NetcError("C140", "labels come from LISTFILE or from --ground-truth: give one of them")
    if truth is None:
        raise NetcError("C140", "--synsets tells what the numbers of --ground-truth are: give that too")
    if synsets is None:
        message = "--ground-truth counts classes in the devkit's own order, which is not that of the labels"
        raise NetcError(
            "C140", message, None, "give --synsets too: the devkit's data/meta.mat tells the synset of each"
        )
    if options["labels"] is None:
        message = "--ground-truth gives synsets, and which label a synset has is not known"
        hint = "give --labels too: the DB.labels.txt of the training database, or a file of all synsets in their order"
        raise NetcError("C140", message, None, hint)
    return truth, synsets


def _print(summary: Summary, listing: Listing, as_json: bool) -> None:
    for warning in summary.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(json_text(as_dict(summary, listing)))
        return
    click.echo("\n".join(lines(summary, listing)))
    for line in [*skipped_lines(summary), *box_lines(summary)]:
        click.echo(line, err=True)


def lines(summary: Summary, listing: Listing) -> list[str]:
    """What was done, for a reader."""
    sides = sorted((height, width) for _, height, width in summary.sizes)
    widths = sorted(width for _, _, width in summary.sizes)
    counts = summary.per_label.values()
    size = _range(widths[0], widths[-1]) + "×" + _range(sides[0][0], sides[-1][0])
    each = _range(min(counts), max(counts))
    rows = [
        f"{summary.database}: {summary.pictures} of {_wanted(summary)} pictures, {summary.datum_bytes / 2**20:.1f} MiB",
        f"  size (width×height)  {size}",
        f"  labels               {len(counts)}, from {min(summary.per_label)} to {max(summary.per_label)}, {each} each",
        f"  stored as            {summary.kept} files as they were, {summary.pictures - summary.kept} written anew",
    ]
    if summary.boxes:
        rows.append(f"  boxes                {summary.boxes:,}, {len(summary.cut):,} of them cut at the picture's edge")
    if listing.classes:
        rows.append(f"  names of the labels  {summary.database}.labels.txt")
    if listing.passed_over:
        rows.append(f"  passed over          {_passed_over(listing.passed_over)}")
    return rows


def _passed_over(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:3]) + (", …" if len(names) > 3 else "")
    return f"{counted(len(names), 'file')} not taken for pictures of a class: {shown}"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _wanted(summary: Summary) -> int:
    return summary.pictures + len(summary.skipped)


def skipped_lines(summary: Summary) -> list[str]:
    """What was left out and why: a line a reason, then the first files."""
    if not summary.skipped:
        return []
    rows = [f"{len(summary.skipped)} of {_wanted(summary)} pictures were left out:"]
    rows += [f"  {count}: {reason}" for reason, count in summary.reasons()]
    for skip in summary.skipped[:SHOWN]:
        line = f"line {skip.entry.line}: " if skip.entry.line else ""
        rows.append(f"    {line}{printable(skip.path)}: {skip.reason}" + (f" ({skip.hint})" if skip.hint else ""))
    hidden = len(summary.skipped) - SHOWN
    return rows + ([f"    and {hidden} more (--json lists all)"] if hidden > 0 else [])


def box_lines(summary: Summary) -> list[str]:
    """Which boxes were cut or left out, and why: a line a reason, then the first of them."""
    by_reason: dict[str, list[Box]] = {}
    for reason, box in summary.left_out:
        by_reason.setdefault(reason, []).append(box)
    rows = []
    if summary.cut:
        rows.append(_told("cut at the edge of their pictures", summary.cut))
    return rows + [_told(f"left out, {reason}", boxes) for reason, boxes in by_reason.items()]


def _told(what: str, boxes: Sequence[Box]) -> str:
    shown = ", ".join(f'"{printable(box.name)}" {box.place}' for box in boxes[:3]) + (", …" if len(boxes) > 3 else "")
    return f"boxes {what}: {len(boxes):,} ({shown})"


def as_dict(summary: Summary, listing: Listing) -> dict[str, Any]:
    return {
        "database": str(summary.database),
        "pictures": summary.pictures,
        "kept_as_they_were": summary.kept,
        "datum_bytes": summary.datum_bytes,
        "sizes": [{"channels": c, "height": h, "width": w, "pictures": n} for (c, h, w), n in summary.sizes.items()],
        "labels": {str(label): summary.per_label[label] for label in sorted(summary.per_label)},
        "classes": list(listing.classes),
        "passed_over": list(listing.passed_over),
        "warnings": summary.warnings,
        "boxes": summary.boxes,
        "boxes_cut": [_box_dict(box) for box in summary.cut],
        "boxes_left_out": [{**_box_dict(box), "reason": reason} for reason, box in summary.left_out],
        "skipped": [
            {"name": skip.entry.name, "line": skip.entry.line, "path": skip.path, "reason": skip.reason}
            for skip in summary.skipped
        ],
    }


def _box_dict(box: Box) -> dict[str, Any]:
    return {"class": box.name, "edges": list(box.edges), "place": str(box.place)}
