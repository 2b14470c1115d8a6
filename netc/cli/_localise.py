"""What `netc localise` and `netc test --localisation` share: which nets, which weights, which scales."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import Real
from netc.cli._status import BAD_DATA, DONE

if TYPE_CHECKING:
    from netc.runtime.localise.nets import System

OPTIONS = (
    click.option("--classifier", metavar="NET", multiple=True, help="The net that rates the boxes."),
    click.option("--classifier-weights", metavar="FILE", multiple=True, help="Its weights."),
    click.option("--threshold", metavar="T", type=Real(0), help="How badly boxes match that are merged still (0.5)."),
)


def localisation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `OPTIONS` to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def report(model: str, weights: str | None, options: dict[str, Any], as_json: bool) -> int:
    """Prints what `netc test --localisation` finds: ILSVRC's errors on the net's test data."""
    from netc.cli._evaluate import say_broken
    from netc.cli._options import json_text
    from netc.cli._progress import progress_bar
    from netc.cli._run import one_device
    from netc.files.shipped import locate
    from netc.runtime.localise.measure import measured, records_of
    from netc.runtime.net.numerics import settle
    from netc.runtime.solver.log import stderr

    if weights is None:
        raise click.UsageError("give the weights: --weights=FILE.caffemodel")
    if (view := options["view"] or "centre") not in ("centre", "dense"):
        raise click.UsageError(
            "--localisation looks at the centre of a picture, or at all of it: --view centre or dense"
        )
    settle(options["threads"], options["precision"])
    device = one_device(options["gpu"], stderr())
    given = {name: options[name] for name in ("classifier", "classifier_weights", "threshold")}
    system = system_of([model], [weights], options["scales"], options["mean"], device, **given)
    path = locate(model, "train_val.prototxt")
    with records_of(path, options["data"] or "") as records, progress_bar("localising") as progress:
        tally = measured(system, records, view == "dense", progress)
    found = {"view": view, "scales": list(system.scales), **tally.as_dict()}
    say_broken(tally.broken)
    if as_json:
        source = os.path.abspath(options["data"]) if options["data"] else None
        click.echo(json_text({**found, "boxes": tally.examples(), "data": source}))
    else:
        click.echo("\n".join(f"{name.replace('_', ' ')}: {_shown(value)}" for name, value in found.items()))
    return BAD_DATA if tally.broken else DONE


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_shown, value)) if value and isinstance(value[0], float) else ", ".join(map(str, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def scales_of(text: str | None) -> list[int]:
    """ "256,384" as numbers, none for nothing. Raises C140 for anything else."""
    words = text.split(",") if text else []
    if not all(word.strip().isascii() and word.strip().isdigit() and 0 < int(word) <= 1 << 14 for word in words):
        raise click.UsageError(f'"{text}" is not a list of scales: give shorter sides in pixels, --scales 256,384')
    return [int(word) for word in words]


def system_of(nets: list[str], weights: list[str], scales: str | None, mean: str, device: str, **given: Any) -> System:
    """The nets that are named, loaded."""
    from netc.runtime.localise.merging import THRESHOLD
    from netc.runtime.localise.nets import system

    ratings, files = list(given["classifier"]), list(given["classifier_weights"])
    _check_pairs(nets, weights, "--weights")
    _check_pairs(ratings, files, "--classifier-weights")
    if len(ratings) not in (0, 1, len(nets)):
        raise click.UsageError(f"{len(ratings)} classifiers for {len(nets)} nets: give one, or one for each net")
    threshold = THRESHOLD if given["threshold"] is None else given["threshold"]
    pairs = [list(zip(one, two)) for one, two in ((nets, weights), (ratings, files))]
    return system(pairs[0], pairs[1], scales_of(scales), threshold, mean, device)


def _check_pairs(nets: list[str], weights: list[str], option: str) -> None:
    if len(nets) != len(weights):
        raise click.UsageError(f"{len(nets)} nets and {len(weights)} files of weights: {option} goes with each net")
