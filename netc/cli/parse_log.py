"""`netc parse-log`: a training log as tables (Caffe's parse_log.py)."""

from __future__ import annotations

from pathlib import Path

import click

from netc.errors import NetcError, Place


@click.command("parse-log")
@click.argument("logfile_path", metavar="LOG")
@click.argument("output_dir", metavar="FOLDER", default=".")
@click.option("--verbose", is_flag=True, help="Say which files are written.")
@click.option("--delimiter", default=",", show_default=True, help="What stands between the columns.")
def command(logfile_path: str, output_dir: str, verbose: bool, delimiter: str) -> None:
    """Write the numbers of a training log, Caffe's or netc's, as FOLDER/LOG.train and FOLDER/LOG.test.

    The columns are NumIters, Seconds, LearningRate and the net's outputs. A table without rows is not written.
    """
    from netc.files.durable import write_whole
    from netc.files.opening import open_regular
    from netc.runtime.report.caffe_log import read, table

    if len(delimiter) != 1:
        raise click.UsageError("--delimiter takes one character")
    with open_regular(logfile_path) as file:
        tables = read(line.decode(errors="replace") for line in file)
    found = {"train": tables.train, "test": tables.test}
    if not any(found.values()):
        hint = "a log of `caffe train` or `netc train`, with `display` or `test_interval` in the solver"
        raise NetcError("D560", "there are no outputs of training or testing in this log", Place(logfile_path), hint)
    for kind, rows in found.items():
        path = Path(output_dir) / f"{Path(logfile_path).name}.{kind}"
        if rows:
            write_whole(path, [table(rows, delimiter).encode()])
        if verbose:
            click.echo(f"Wrote {path}" if rows else f"Not writing {path}; no lines to write")
