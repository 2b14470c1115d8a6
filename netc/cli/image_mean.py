"""`netc image-mean`: means and principal colours of a database (Caffe's compute_image_mean, and more in one pass)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netc.cli._options import MOST_THREADS, Whole, force_option, json_option, json_text
from netc.cli._progress import progress_bar
from netc.errors import NetcError, Place
from netc.layers.base import format_shape

if TYPE_CHECKING:
    from netc.runtime.imageset.mean import Statistics


@click.command("image-mean")
@click.argument("database", metavar="DB", type=click.Path(path_type=Path))
@click.argument("outputs", metavar="[OUT]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--backend", default="lmdb", show_default=True, help="lmdb or leveldb; what DB holds counts.")
@click.option("--ignore-orientation", is_flag=True, help="Leave pictures as stored, whatever their EXIF block says.")
@force_option
@click.option("--workers", type=Whole(1, MOST_THREADS), help="Threads that decode (default: one a core).")
@json_option
def command(
    database: Path,
    outputs: tuple[Path, ...],
    backend: str,
    ignore_orientation: bool,
    workers: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compute the mean image, channel means and principal colours of the LMDB or LevelDB called DB, in one pass.

    An OUT that ends in .json gets the channel means and the principal components of the colours, for
    color_shift_param.file. Any other OUT gets the mean image, for transform_param.mean_file; that needs images of one
    size. An OUT that is there already is refused without --force. The printed mean_value lines can be pasted into a
    transform_param.
    """
    if backend.lower() not in ("lmdb", "leveldb"):
        raise NetcError("C140", f'"{backend}" is not a kind of database that netc reads: lmdb and leveldb are')
    for path in outputs:
        if path.suffix.lower() in (".npy", ".npz", ".png", ".jpg"):
            message = f"{path} would hold a BlobProto, and its name says something else"
            raise NetcError("C140", message, None, "let the name end in .binaryproto (or .json for the colours)")
    from netc.files.durable import refuse_existing
    from netc.runtime.imageset.mean import as_dict, statistics
    from netc.runtime.imageset.writer import write_file

    refuse_existing(*outputs, force=force)
    with progress_bar("reading") as progress:
        found = statistics(database, workers, progress, upright=not ignore_orientation)
    contents = [(path, _content(path, found, database)) for path in outputs]  # all of them, before any is written
    refuse_existing(*outputs, force=force)
    for path, content in contents:
        write_file(path, content)
    click.echo(json_text(as_dict(found)) if as_json else "\n".join(lines(found)))


def _content(path: Path, found: Statistics, database: Path) -> bytes:
    from netc.runtime.imageset.mean import as_binaryproto, as_dict

    if path.suffix.lower() == ".json":
        if found.eigenvalue is None:
            message = f"principal colours need three channels, and these images have {len(found.channel_mean)}"
            raise NetcError("D548", message, Place(str(database)))
        return (json_text(as_dict(found)) + "\n").encode()
    if found.mean is None:
        a, b = (format_shape(size) for size in found.sizes[:2])
        message = f"there is no mean image: sizes differ ({a}, {b}, …; channels×height×width)"
        hint = "paste the channel means that image-mean prints, or convert with --resize-width and --resize-height"
        raise NetcError("D547", message, Place(str(database)), hint)
    return as_binaryproto(found.mean)


def lines(found: Statistics) -> list[str]:
    """For a reader: comments, and lines of a transform_param."""
    first = found.sizes[0]
    shape = format_shape(first) if len(found.sizes) == 1 else f"{first[0]} channels, {len(found.sizes)} sizes"
    rows = [f"# {found.images} images, {shape}"]
    rows += [f"mean_value: {value:.3f}" for value in found.channel_mean]
    if found.eigenvalue is not None and found.eigenvector is not None:
        rows.append(f"# color_shift_param (blue, green, red){'' if found.eigenvalue[0] else ': one colour only'}")
        rows.append("color_shift_param {")
        rows.append("  eigenvalue: [" + ", ".join(f"{value:.6g}" for value in found.eigenvalue) + "]")
        rows += ["  eigenvector: [" + ", ".join(f"{x:.4f}" for x in vector) + "]" for vector in found.eigenvector]
        rows.append("}")
    return rows
