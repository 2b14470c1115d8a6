"""`netc reproduce`: the paper's tables, measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netc.cli._evaluate import INPUT, device_of, said_by, source_of, spread, threads_of, wanted_of, with_options
from netc.cli._options import MOST_THREADS, Whole, json_option, json_text, shape_option
from netc.cli._run import device_options, precision_option
from netc.cli._status import DONE, NO_INPUT, STOPPED
from netc.cli.features import SETS
from netc.errors import NetcError, printable

if TYPE_CHECKING:
    from netc.runtime.parallel.group import Group
    from netc.runtime.reproduce.setting import Setting
    from netc.solver.tables import Table

RESULT = "reproduction.json"


@click.command("reproduce")
@click.argument("tables", nargs=-1, metavar="[TABLE...]")
@click.option("--data", metavar="SOURCE", help="Pictures: an LMDB, a list, or a folder with a sub-folder a class.")
@click.option("--root", metavar="DIR", help="Where the names of a list start (default: its own folder).")
@click.option(
    "--set",
    "sets",
    type=(click.Choice(SETS), str),
    multiple=True,
    metavar="NAME FOLDER",
    help="The folder of another data set, as for netc features (repeatable): tables 11 and 12.",
)
@click.option("--weights-dir", metavar="DIR", help="The trained nets, called as the steps of their schedules.")
@click.option("--labels", metavar="FILE", help="The names of the nets' classes, a line each.")
@click.option("--cache", metavar="DIR", help="What was computed is kept here (default: posteriors in --weights-dir).")
@click.option(
    "--order",
    type=click.Choice(["scores", "posteriors"]),
    default="scores",
    show_default=True,
    help="What is averaged over a map.",
)
@click.option("--mini", is_flag=True, help="Small nets on drawn pictures or photos; what is missing is trained.")
@click.option(
    "--out", metavar="DIR", default="netc_mini", show_default=True, help="The folder of a miniature and all it makes."
)
@click.option("--iterations", metavar="N", type=Whole(1), help="Of a miniature's first trainings (default: 500).")
@click.option("--nproc", type=Whole(1, MOST_THREADS), metavar="N", help="Test in N processes: the same bits.")
@with_options(INPUT)
@shape_option()
@device_options
@precision_option("tf32", "bf16")
@json_option
def command(tables: tuple[str, ...], mini: bool, as_json: bool, **options: Any) -> int:
    """Print the paper's figures beside those that are measured here, with their 95 % intervals.

    TABLE is table3, table4, table5, table6, table8, table9, table11, table12, or a file of your own like these
    (docs/reproduce.md). Each row is a protocol; the weights are taken from --weights-dir, and rows whose weights are
    missing are named. What was computed is kept, and the same command goes on where it was stopped. Tables 11 and 12
    take the data sets of --set NAME FOLDER in place of --data.

    With --mini the same is done with small nets, which are trained first, on the demonstration's pictures, or on the
    photos in the sub-folders of --data. Everything stays in --out; without a TABLE it makes all that have a miniature.
    """
    from netc.runtime.evaluate.sources import check_there

    if mini:
        return _miniature(tables, as_json, options)
    if options["weights_dir"] is None:
        raise click.UsageError("give --weights-dir, or --mini for the small nets")
    if not tables:
        raise click.UsageError("name a table: netc reproduce table5")
    if options["iterations"] is not None:
        raise click.UsageError("--iterations is for --mini: without it nothing is trained")
    given = [_table(name) for name in tables]
    if options["data"] is None and any(row.task is None for one in given for row in one.rows):
        raise click.UsageError("give --data, or --mini for the small nets")
    if options["data"] is not None:
        check_there(options["data"])  # though no weights may be there to look at it
    return spread(
        lambda group: _measure(given, _setting(options, options["weights_dir"], options["data"] or "", group), as_json),
        options["nproc"],
    )


def _table(name: str) -> Table:
    """A file, or the name of one that comes with netc ("table5", or 5). Raises C310, and as `read_table`."""
    from netc.files.shipped import FOLDER
    from netc.files.shipped import tables as known
    from netc.graph.read import TextFile, open_file
    from netc.solver.tables import read_table

    plain = f"table{name}" if name.isdigit() else name.lower()
    path = str(FOLDER / "paper" / f"{plain}.prototxt") if plain in known() else name
    if path == name and not os.path.lexists(name):
        hint = f"tables: {', '.join(known())}, or a file"
        raise NetcError("C310", f'"{printable(name)}" is neither a table of the paper nor a file here', None, hint)
    opened = open_file(path)
    if not isinstance(opened, TextFile):
        raise NetcError("C310", f'"{printable(name)}" is a binary file, not a table', None, "give its prototxt")
    return read_table(opened)


def _setting(options: dict[str, Any], weights: str, data: str, group: Group) -> Setting:
    from netc.runtime.evaluate.load import read_names
    from netc.runtime.reproduce import features
    from netc.runtime.reproduce.setting import Setting

    sets = dict(options["sets"])
    if len(sets) < len(options["sets"]):
        raise click.UsageError("--set names each data set once")
    for name, folder in sets.items():
        features.check(name, folder)
    wanted = wanted_of(options, device_of(options, group))
    workers, streams = threads_of(options, group)
    names = read_names(options["labels"]) if options["labels"] else []
    own = {**options, "data": data}
    once = _once(said_by(group))
    cache = options["cache"] or os.path.join(weights, "posteriors")
    return Setting(
        lambda first: source_of(own, names, first, once),
        data,
        weights,
        cache,
        wanted,
        options["order"],
        workers,
        streams,
        _told if group.first else lambda text: None,
        labels=names,
        sets=sets,
        group=group,
    )


def _told(text: str) -> None:
    click.echo(printable(text), err=True)


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    seen: set[str] = set()

    def told(text: str) -> None:
        if text not in seen:
            seen.add(text)
            tell(text)

    return told


def _measure(
    given: Sequence[Table],
    setting: Setting,
    as_json: bool,
    miniature: Sequence[str] = (),
    target: Path | None = None,
) -> int:
    from netc.cli._progress import progress_bar
    from netc.files.durable import write_whole
    from netc.runtime.reproduce.result import document, lines, measured_rows
    from netc.runtime.reproduce.rows import Measuring

    with progress_bar("testing") as progress:
        setting.progress = progress if setting.group.first else None
        measuring = Measuring(setting)
        found = [(one, measuring.table(one)) for one in given]
    data = os.path.abspath(setting.data) if setting.data else None
    whole = document(found, data, setting.order, miniature)
    if setting.group.first:
        if target is not None:
            write_whole(target, [json_text(whole).encode()])
        click.echo(json_text(whole) if as_json else "\n".join(lines(whole)).rstrip())
    return DONE if measured_rows(whole) else NO_INPUT


def _miniature(names: Sequence[str], as_json: bool, options: dict[str, Any]) -> int:
    """The processes of --nproc share the tests; what is missing is trained before they start."""
    from netc.runtime.demo.steps import working_in
    from netc.runtime.parallel.group import launched
    from netc.runtime.reproduce import mini
    from netc.runtime.reproduce.result import of_miniature

    if options["weights_dir"] is not None or options["root"] is not None or options["labels"] is not None:
        raise click.UsageError("--mini trains its own nets: it goes without --weights-dir, --root and --labels")
    if options["sets"]:
        raise click.UsageError("--set is for tables 11 and 12, which have no miniature")
    given = [mini.small(_table(name)) for name in names or mini.TABLES]
    folder, iterations = Path(options["out"]), options["iterations"] or mini.ITERATIONS
    if not launched() and not _trained(given, folder, iterations, options["data"]):
        click.echo("stopped, with a snapshot saved; the same command goes on", err=True)
        return STOPPED
    photos = os.path.abspath(options["data"]) if options["data"] else ""
    about = of_miniature(photos, iterations)

    def tested(group: Group) -> int:
        with working_in(folder):
            return _measure(given, _setting(options, ".", mini.DATA, group), as_json, about, Path(RESULT))

    return spread(tested, options["nproc"])


def _trained(given: Sequence[Table], folder: Path, iterations: int, photos: str | None) -> bool:
    """Pictures and nets made, as far as they are not there; False where a signal came in between."""
    from netc.cli._progress import progress_bar
    from netc.runtime.demo.steps import working_in
    from netc.runtime.reproduce import mini

    with progress_bar("drawing") as progress:
        mini.prepare(folder, photos, _told, progress)
    with working_in(folder):
        steps = mini.steps_for(mini.needed(given), iterations)
        return not mini.train_all(steps, _told).stopped
