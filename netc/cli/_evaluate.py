"""`netc test` by the paper's protocols: what it does where --data, --scales or --view is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import MOST_THREADS, Real, Whole, json_text
from netc.cli._status import BAD_DATA, DONE
from netc.errors import NetcError, Place, printable

if TYPE_CHECKING:
    from netc.runtime.evaluate.classifier import Classifier
    from netc.runtime.evaluate.load import Wanted
    from netc.runtime.evaluate.protocol import Protocol
    from netc.runtime.evaluate.run import Outcome
    from netc.runtime.evaluate.sources import Source
    from netc.runtime.evaluate.sweep import Broken, Member
    from netc.runtime.parallel.group import Group

PIXELS = (
    click.option("--mean", default="", metavar="MEAN", help="Of the pixels: 104,117,123 (blue, green, red) or a file."),
    click.option("--scale", type=Real(), metavar="S", help="What pixels are multiplied with behind the mean."),
    click.option("--crop", type=Whole(1), metavar="N", help="Side of the classifier's input (default: the net's)."),
    click.option("--channels", type=click.Choice(["BGR", "RGB"]), help="The order of its channels (default: BGR)."),
)
"""What is asked for where neither card nor net says it."""

INPUT = (
    *PIXELS,
    click.option("--blob", metavar="NAME", help="The blob with the scores, where the net has several outputs."),
)

PROTOCOL = (
    click.option("--data", metavar="SOURCE", help="Pictures: an LMDB, a list, or a folder with a sub-folder a class."),
    click.option("--root", metavar="DIR", help="Where the names of a list start (default: its own folder)."),
    click.option(
        "--scales",
        metavar="Q,…",
        help="Shorter sides to which pictures are rescaled (default: by the net, 256 for most).",
    ),
    click.option(
        "--view", type=click.Choice(["dense", "crops", "centre", "both"]), help="What a net sees (default: dense)."
    ),
    click.option("--flip", is_flag=True, help="Mirrored pictures count as well."),
    click.option(
        "--order", type=click.Choice(["scores", "posteriors"]), help="What is averaged over a map (default: scores)."
    ),
    click.option("--fuse", metavar="NET:W", multiple=True, help="Average with another net's posteriors (repeatable)."),
    click.option("--labels", metavar="FILE", help="The names of the net's classes, a line each."),
    click.option("--cache", metavar="DIR", help="Keep each picture's posteriors here, and take those that are there."),
    click.option("--nproc", type=Whole(1, MOST_THREADS), metavar="N", help="Spread over N processes: the same bits."),
    click.option("--predictions", metavar="FILE", help="Write which pictures were wrong, for --against."),
    click.option("--against", metavar="FILE", help="Test whether these predictions of the same pictures differ."),
)


PATIENCE = 30 * 86_400
"""Seconds: the processes meet at the end only, and one may have had much less to do."""


def with_options(*groups: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    """Adds groups of options to a command."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([one for group in groups for one in group]):
            command = option(command)
        return command

    return decorated


def given(options: dict[str, Any]) -> list[str]:
    """Those of the protocol's options that are given."""
    names = ("data", "root", "scales", "view", "flip", "order", "fuse", "labels", "cache", "nproc", "predictions")
    return [name for name in (*names, "against", "mean", "scale", "crop", "channels", "blob") if options[name]]


def evaluate(net: str, weights: str | None, as_json: bool, options: dict[str, Any]) -> int:
    """By the protocol that the options say."""
    if options["data"] is None:
        raise click.UsageError("give the pictures: --data SOURCE (an LMDB, a list, or a folder of folders)")
    if weights is None:
        raise click.UsageError("give the weights: --weights=FILE.caffemodel")
    return spread(lambda group: _evaluate(net, weights, as_json, options, group), options["nproc"])


def spread(work: Callable[[Group], int], processes: int | None) -> int:
    """Alone, or as one of the processes that a launcher has started; or start these."""
    from netc.runtime.parallel.group import Group, Processes, launched
    from netc.runtime.parallel.launch import ended, launch

    if not launched():
        if processes is not None and processes > 1:
            return launch(processes, sys.argv[1:])
        return work(Group())
    group = Processes(timeout=PATIENCE)
    try:
        status = work(group)
    except NetcError as error:
        if group.first:
            click.echo(str(error), err=True)
        status = error.exit_status
    finally:
        group.close()
    return ended(status, group.rank)


def _evaluate(net: str, weights: str, as_json: bool, options: dict[str, Any], group: Group) -> int:
    from netc.files.durable import refuse_existing, write_whole
    from netc.runtime.evaluate import report

    told = said_by(group)
    other = report.read_predictions(options["against"]) if options["against"] else None
    if options["predictions"]:
        refuse_existing(options["predictions"], force=True)
    members = members_of(net, weights, options, group, told)
    protocol = members[0].protocol
    names = labels_of(options["labels"], members[0].classifier)
    source = source_of(options, names, members[0].classifier, told)
    try:
        outcome = _outcome(source, members, options, group)
        exact = _in_fp32(net, weights, source, options, group) if options["precision"] == "int8" else None
    finally:
        source.close()
    if group.first:
        order = protocol.order
        about = f"{protocol} of {', '.join(member.weights for member in members)}"
        known = names or source.classes or members[0].classifier.names
        found = report.summary(outcome, order, known, [_described(member) for member in members])
        found |= {"data": os.path.abspath(options["data"]), "root": options["root"]}
        if exact is not None:
            found["fp32"] = {each: report.rates(exact, each) for each in found["orders"]}
        if other is not None:
            found["mcnemar"] = report.paired(outcome, order, other, options["against"])
        if options["predictions"]:
            text = json_text(report.predictions(outcome, order, about))
            write_whole(options["predictions"], [text.encode()])
        say_broken(outcome.broken)
        click.echo(json_text(found) if as_json else "\n".join(report.lines(found)))
    return BAD_DATA if outcome.broken else DONE


def _outcome(source: Source, members: Sequence[Member], options: dict[str, Any], group: Group) -> Outcome:
    from netc.runtime.evaluate.run import Run

    with counting("testing", len(source), group) as done:
        return Run(source, members, group, *threads_of(options, group), done).outcome()


def _in_fp32(net: str, weights: str, source: Source, options: dict[str, Any], group: Group) -> Outcome:
    """What stands beside the accuracy of int8."""
    exact = {**options, "engine": "torch", "precision": "fp32"}
    return _outcome(source, members_of(net, weights, exact, group, _nothing), exact, group)


def say(text: str) -> None:
    click.echo(f"warning: {printable(text)}", err=True)


def _nothing(text: str) -> None: ...


def said_by(group: Group) -> Callable[[str], None]:
    """What says remarks: the first process alone."""
    return say if group.first else _nothing


def say_broken(broken: Sequence[Broken]) -> None:
    for one in broken:
        click.echo(f"{one.error}\n  not counted", err=True)


@contextmanager
def counting(what: str, total: int, group: Group) -> Iterator[Callable[[int], None] | None]:
    """A bar of the pictures done, on the first process; gives what a sweep calls with their number."""
    from netc.cli._progress import progress_bar

    with progress_bar(what) as show:
        yield (lambda count: show(count * group.size, total)) if show and group.first else None


def protocol_of(options: dict[str, Any], classifier: Classifier) -> Protocol:
    """Without --scales at the one that the classifier's net has. Raises NetcError R732 for scales that are none."""
    from netc.runtime.evaluate.classify import default_scale
    from netc.runtime.evaluate.protocol import protocol

    text = options["scales"] or str(default_scale(classifier))
    try:
        scales = [int(part) for part in text.split(",")]
    except ValueError:
        raise NetcError("R732", f'--scales is "{printable(text)}"', None, "whole numbers: --scales 256,384") from None
    return protocol(scales, options["view"] or "dense", options["flip"], options["order"] or "scores")


def _split(text: str) -> tuple[str | None, str]:
    net, colon, weights = text.rpartition(":")
    if not weights:
        raise click.UsageError(f'--fuse {text}: "NET:WEIGHTS", or weights that bring their net')
    return (net if colon else None), weights


def wanted_of(options: dict[str, Any], device: str) -> Wanted:
    from netc.runtime.evaluate.load import Wanted

    told = options["told"]
    if told.shapes:
        told.used = True
    names = ("mean", "scale", "crop", "blob", "precision")
    given = {name: options[name] for name in names} | {"engine": options.get("engine", "torch")}
    return Wanted(**given, channels=options["channels"] or "", shapes=told.shapes, device=device)


def members_of(
    net: str,
    weights: str,
    options: dict[str, Any],
    group: Group,
    say: Callable[[str], None],
    kind: type[Classifier] | None = None,
) -> list[Member]:
    """The net and those of --fuse, each with the protocol. The blob and the crop are the first net's, the other options
    hold for all. `kind`: what is made of them, by default classifiers."""
    from netc.files.shipped import locate
    from netc.runtime.evaluate.classifier import Classifier
    from netc.runtime.evaluate.load import classifier_of
    from netc.runtime.evaluate.store import Store, other_nets
    from netc.runtime.evaluate.sweep import Member

    wanted = wanted_of(options, device_of(options, group))
    found: list[Member] = []
    for number, (name, file) in enumerate([(net, weights), *map(_split, options["fuse"])]):
        path = locate(name, "train_val.prototxt") if name is not None else None
        own = replace(wanted, blob=None, crop=None) if number else wanted
        classifier = classifier_of(path, file, own, say, kind or Classifier)
        calibrate(classifier, options, say)
        store = Store(options["cache"], classifier.key, say, classifier.kind) if options["cache"] else None
        protocol = found[0].protocol if found else protocol_of(options, classifier)
        found.append(Member(classifier, protocol, store, path or "", file))
    if options["cache"]:
        others = other_nets(options["cache"], [member.classifier.key for member in found])
        if others:
            say(f"{options['cache']} holds results of {others} other nets or weights, which are not used")
    return found


def calibrate(classifier: Classifier, options: dict[str, Any], say: Callable[[str], None]) -> None:
    """Have the ranges of int8 taken from the pictures of --calibrate. Raises NetcError R775 where that is not given."""
    if options["precision"] != "int8":
        return
    from netc.runtime.evaluate.calibration import batches_of
    from netc.runtime.transfer.sets import pictures_of

    if options["calibrate"] is None:
        message = "int8 needs the ranges of values, and there are no pictures to find them from"
        raise NetcError("R775", message, None, "--calibrate SOURCE: an LMDB, a list or a folder of pictures")
    source = pictures_of(options["calibrate"], None, None)
    try:
        classifier.net.calibrate(batches_of(classifier, source, say))  # type: ignore[operator]
    finally:
        source.close()


def device_of(options: dict[str, Any], group: Group, threads: int | None = 1) -> str:
    """The torch device. `threads`: those of one batch; with one, several batches are computed at a time. An engine
    computes one batch at a time, by all cores."""
    from netc.cli._run import one_device
    from netc.runtime.net.load import engine_net, exact_computing
    from netc.runtime.net.numerics import settle
    from netc.runtime.parallel.group import local_rank
    from netc.runtime.solver.log import nowhere

    spread = group.size > 1 and options["gpu"]
    device = f"cuda:{local_rank()}" if spread else one_device(options["gpu"], nowhere())
    engine, precision = options.get("engine", "torch"), options["precision"]
    engine_net(engine, precision, device)  # refuses what there is not
    if by_engine(options):
        threads = options["threads"] or cores_of(group)
    settle(threads, exact_computing(engine, precision).precision)
    return device


def by_engine(options: dict[str, Any]) -> bool:
    return bool(options.get("engine", "torch") != "torch")


def cores_of(group: Group) -> int:
    """For each process."""
    from netc.runtime.net.cores import usable_cores

    return max(1, usable_cores() // group.size)


def threads_of(options: dict[str, Any], group: Group) -> tuple[int, int]:
    """Threads that decode, and batches that are computed at a time."""
    cores = cores_of(group)
    return options["workers"] or cores, 1 if options["gpu"] or by_engine(options) else options["threads"] or cores


def labels_of(path: str | None, classifier: Classifier) -> list[str]:
    """The names of the classes. Raises NetcError R738 for a list of another length."""
    if path is None:
        return []
    from netc.runtime.evaluate.load import classes_in, read_names

    return classes_in(classifier, read_names(path), path)


def source_of(options: dict[str, Any], names: list[str], classifier: Classifier, say: Callable[[str], None]) -> Source:
    """The pictures. Sub-folders that are not named in --labels have to be as many as the net has classes."""
    from netc.runtime.evaluate.sources import open_source

    source = open_source(options["data"], options["root"], names)
    for remark in source.remarks:
        say(remark)
    if not names and source.numbered and len(source.classes) != classifier.classes:
        found = f"{options['data']} has {len(source.classes)} sub-folders, and the net {classifier.classes} classes"
        hint = "--labels FILE, with a line for each class that begins with its folder's name, says which is which"
        source.close()
        raise NetcError("R738", found, Place(options["data"]), hint)
    return source


def _described(member: Member) -> dict[str, str]:
    return {"net": member.net or "its own net", "weights": member.weights, "protocol": str(member.protocol)}
