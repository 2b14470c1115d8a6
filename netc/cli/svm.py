"""`netc svm`: linear machines on features of a data set (appendix B)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import Real, Whole, json_option, json_text
from netc.cli.features import SETS
from netc.errors import printable

if TYPE_CHECKING:
    from netc.runtime.transfer.sets import Splits


class _Count(Whole):
    """A whole number, or "all"."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "all" else super().convert(value, param, ctx)


@click.command("svm")
@click.argument("set_name", metavar="SET", type=click.Choice(SETS))
@click.argument("folder", metavar="FOLDER")
@click.argument("more", metavar="[F…]", nargs=-1)
@click.option("--features", metavar="F", multiple=True, required=True, help="Files of netc features; several: stacked.")
@click.option("--boxes", is_flag=True, help="voc-action: stack the features of the person's box.")
@click.option("--train-per-class", metavar="N", type=Whole(1), help="Pictures of a class to train on (30, 60).")
@click.option("--test-per-class", metavar="N", type=_Count(1), help='To test on at most, or "all" (50, all).')
@click.option("--splits", metavar="N", type=Whole(1), help="How many random splits (3).")
@click.option("--seed", metavar="N", type=Whole(0), help="Which random splits (0).")
@click.option("--c", "grid", metavar="C", type=Real(min=0, min_open=True), multiple=True, help="The C to choose from.")
@json_option
def command(
    set_name: str,
    folder: str,
    more: tuple[str, ...],
    features: tuple[str, ...],
    boxes: bool,
    grid: tuple[float, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """Train linear machines on features of a data set, and test them.

    SET is voc2007, voc2012 or voc-action (FOLDER: VOCdevkit/VOC2007 or VOC2012), caltech101, caltech256, or folder (a
    sub-folder a class). C is chosen on 20 % of the training pictures, then all are trained on. Of the VOC sets the mean
    average precision is measured, by the area and by the 11-point rule; of the others the mean recall of the classes,
    over random splits. netc features --set SET FOLDER makes the features (docs/features.md). Needs scikit-learn.
    """
    from netc.runtime.transfer.measure import as_dict, lines, run
    from netc.runtime.transfer.svm import GRID

    splits = _splits(set_name, options)
    files = [*features, *more]
    measured = run(set_name, folder, files, boxes, splits, sorted(set(grid)) or GRID, _say)
    found = as_dict(measured)
    click.echo(json_text(found) if as_json else "\n".join(map(printable, lines(found))))
    return 0


def _say(text: str) -> None:
    click.echo(printable(text), err=True)


def _splits(name: str, options: dict[str, Any]) -> Splits | None:
    """The paper's, with what the options say instead."""
    from netc.runtime.transfer.sets import SETS as KNOWN
    from netc.runtime.transfer.sets import Splits

    usual, seed = KNOWN[name].splits, options["seed"]
    given = [option for option in ("train_per_class", "test_per_class", "splits") if options[option] is not None]
    if usual is None:
        if given:
            raise click.UsageError(f"{name} has splits of its own: leave --{given[0].replace('_', '-')} out")
        return Splits(0, None, seed=seed or 0)
    test = options["test_per_class"]
    return Splits(
        options["train_per_class"] or usual.train,
        usual.test if test is None else None if test == "all" else test,
        options["splits"] or usual.times,
        seed or 0,
    )
