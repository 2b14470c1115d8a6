"""`netc report`: runs and results as one page."""

from __future__ import annotations

import click

from netc.cli._options import force_option, output_option


@click.command("report")
@click.argument("sources", metavar="RUN|JSON...", nargs=-1, required=True)
@output_option("FILE", "Where to write the page (default: report.html).")
@click.option("--title", metavar="TEXT", default="netc report", show_default=True, help="What stands above the page.")
@force_option
def command(sources: tuple[str, ...], output: str | None, title: str, force: bool) -> None:
    """Write one HTML page of training runs and results: it opens from the disk, and needs no network and no script.

    RUN is the .metrics.jsonl that training leaves, its snapshot prefix, or a folder with some. JSON is what
    netc test --json, netc test --localisation --json or netc reproduce --json has printed. The page has the curves and
    first-layer filters of runs, tables with intervals, and pictures: classes taken for others, the most confident
    mistakes, and boxes.
    """
    from netc.files.durable import refuse_existing, write_whole
    from netc.runtime.report.page import page
    from netc.runtime.report.results import read_results

    target = output or "report.html"
    refuse_existing(target, force=force)
    found = read_results(sources)
    write_whole(target, (piece.encode("utf-8", "backslashreplace") for piece in page(found, title)), force=force)
    click.echo(target)
