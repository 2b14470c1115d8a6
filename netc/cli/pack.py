"""`netc pack`: the pictures of a database, made smaller once."""

from __future__ import annotations

from pathlib import Path

import click

from netc.cli._options import MOST_THREADS, Whole, json_option, json_text
from netc.cli._progress import progress_bar
from netc.errors import counted


@click.command("pack")
@click.argument("source", metavar="DB", type=click.Path(path_type=Path))
@click.option("-o", "out", required=True, metavar="OUT", type=click.Path(path_type=Path), help="The new LMDB.")
@click.option("--short-side", required=True, type=Whole(1, 1 << 14), metavar="N", help="The shorter side, in pixels.")
@click.option("--quality", type=Whole(1, 100), default=90, show_default=True, help="Quality of the JPEGs.")
@click.option("--ignore-orientation", is_flag=True, help="Leave pictures as stored, whatever their EXIF block says.")
@click.option("--force", is_flag=True, help="Replace an LMDB that is there already.")
@click.option("--workers", type=Whole(1, MOST_THREADS), help="Threads that decode (default: one a core).")
@json_option
def command(
    source: Path,
    out: Path,
    short_side: int,
    quality: int,
    ignore_orientation: bool,
    force: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write the LMDB or LevelDB called DB into the new LMDB called OUT, large pictures made smaller.

    A picture whose shorter side is above N is rescaled to N, keeping its shape, and stored as a JPEG; boxes are scaled
    with it. Smaller pictures are copied byte for byte. Keys, labels and order stay. OUT appears only when it is
    complete. Choose N at least as large as the largest size that the transform rescales to (docs/imagenet.md).
    """
    with progress_bar("packing") as progress:
        from netc.runtime.imageset.pack import pack

        made = pack(
            source,
            out,
            short_side,
            quality,
            upright=not ignore_orientation,
            force=force,
            workers=workers,
            progress=progress,
        )
    if as_json:
        click.echo(json_text(made.as_dict()))
        return
    click.echo(f"{made.database}: {counted(made.records, 'record')}, {made.smaller:,} of them made smaller")
    share = made.after / made.before if made.before else 1.0
    click.echo(f"  {made.before / 2**20:,.1f} MiB before, {made.after / 2**20:,.1f} MiB after ({share:.0%})")
