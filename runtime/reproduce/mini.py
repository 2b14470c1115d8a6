"""The miniature: the paper's tables with small nets, on drawn pictures or a folder of photos, in a folder of its own.

What it has made is kept: databases, snapshots, posteriors. Run again in the same folder, it goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netc.errors import NetcError, Place, printable
from netc.files import checked_json
from netc.files.opening import read_bytes
from netc.runtime.demo.steps import claim, furnish
from netc.runtime.imageset import Listing, Recipe, build, from_folders
from netc.runtime.imageset.writer import write_file
from netc.runtime.net import rand
from netc.runtime.reproduce.boxes import has_boxes
from netc.runtime.solver.schedule import Standing, standings
from netc.solver.schedule import Step, chosen
from netc.solver.tables import FEATURES, LOCALISATION, Member, Row, Table, Trained, steps_of

Sides = Mapping[tuple[int, ...], tuple[int, ...]]
SIDES: Sides = {(256,): (80,), (384,): (110,), (256, 512): (73, 146)}
"""S of the paper → S of the small nets' solvers (models/README.md)."""

BOX_SIDES: Sides = {(256,): (96,), (384,): (128,)}
"""Of those that localise: a whole number of strides more than the crop, as in the paper, so that windows fit."""

DATA = "val_lmdb"
"""What the nets are tested on, in the folder of a miniature."""

CROP, MINI_CROP = 224, 64

TABLES = ("table3", "table4", "table5", "table6", "table8", "table9")
"""What a miniature makes: the others need data sets of their own."""

CLASSES = 10
ITERATIONS = 500
"""Of a net's first training, and of one that learns boxes; of every further step two fifths."""

SNAPSHOT, TEST = 50, 25
SEED = 1
MARK = "miniature.json"
_MARK = checked_json.Record({"data": str, "netc_miniature": int})
_KEPT_SIDE = 192
"""To which the shorter sides of photos are brought: more than the largest S."""

Say = Callable[[str], None]


# -- what is made small ------------------------------------------------------------------------------------------------


def small(table: Table) -> Table:
    """The same table for the small nets. Raises NetcError R780 for a row that none of them can stand for."""
    rows = tuple(_small_row(row, table) for row in table.rows)
    return replace(table, rows=rows)


def _small_row(row: Row, table: Table) -> Row:
    if row.kind == FEATURES:
        hint = f"tables of a miniature: {', '.join(TABLES)}"
        raise NetcError("R780", f"{table.name} is of features on other data sets, which have no miniature", None, hint)
    if row.kind == LOCALISATION:
        return replace(row, members=tuple(map(_localiser, row.members)), naming=_members(row.naming))
    return replace(row, members=_members(row.members), naming=_members(row.naming))


def _members(members: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(
        replace(
            one,
            trained=_trained(one.trained, SIDES),
            train_sides=_train_sides(one, SIDES),
            test_sides=tuple(_test_side(one, side) for side in one.test_sides),
        )
        for one in members
    )


def _localiser(one: Member) -> Member:
    """Q is as many strides, of 32 pixels in both, from the small S as it is from S."""
    (own,) = _train_sides(one, BOX_SIDES)
    return replace(
        one,
        trained=_trained(one.trained, BOX_SIDES),
        rating=_trained(one.rating, SIDES) if one.rating else None,
        train_sides=(own,),
        test_sides=tuple(own + side - one.train_sides[0] for side in one.test_sides),
    )


def _trained(one: Trained, sides: Sides) -> Trained:
    net = one.net if one.net.startswith("mini_") else f"mini_{one.net}"
    return Trained(net, one.step.replace("_S384", f"_S{sides[384,][0]}"))


def _train_sides(member: Member, sides: Sides) -> tuple[int, ...]:
    if member.train_sides not in sides:
        hint = f"S of a miniature: {', '.join(map(str, sides))}"
        raise NetcError("R780", f"S = {member.train_sides} has no small counterpart", None, hint)
    return sides[member.train_sides]


def _test_side(member: Member, side: int) -> int:
    """Q as far from the small S as it is from S, in crops; of a range as far along it."""
    small_sides = _train_sides(member, SIDES)
    low, own = member.train_sides[0], small_sides[0]
    if len(small_sides) == 1:
        return own + round((side - low) * MINI_CROP / CROP)
    high = member.train_sides[1]
    return own + (side - low) * (small_sides[1] - own) // (high - low)


# -- databases ---------------------------------------------------------------------------------------------------------


def prepare(folder: Path, photos: str | None, say: Say, progress: Callable[[int, int], None] | None = None) -> None:
    """`train_lmdb` and `val_lmdb` in `folder`: of the demonstration's pictures, or of a folder of photos, with a
    sub-folder a class, or with `train` and `val` that have these. Raises NetcError O143, O142, R781, D541."""
    own = os.path.abspath(photos) if photos else ""
    sets = _split(Path(own)) if photos else {}
    _claim(folder, own)
    if not photos:
        furnish(folder, say, progress)
    for name, listing in sets.items():
        database = folder / f"{name}_lmdb"
        if not database.exists():
            summary = build(listing.shuffled(SEED), database, Recipe(short_side=_KEPT_SIDE, encoded=True))
            say(f"wrote the database {database}: {summary.pictures} photos")


def _split(root: Path) -> dict[str, Listing]:
    """The photos to train on and those to test on: as the folder has them, or of each class every fifth to test."""
    names = ("train", "val")
    if all((root / name).is_dir() for name in names):
        train = from_folders(root / "train")
        found = {"train": train, "val": from_folders(root / "val", train.classes)}
    else:
        whole = from_folders(root)
        order = rand.permutation(len(whole.entries), SEED, "miniature")
        mixed = sorted((whole.entries[at] for at in order), key=lambda entry: entry.label)
        numbered = {
            name: tuple(mixed[at] for at in range(len(mixed)) if (at % 5 == 4) == (name == "val")) for name in names
        }
        found = {name: replace(whole, entries=rows, numbers=range(len(rows))) for name, rows in numbered.items()}
    if len(found["train"].classes) != CLASSES:
        message = f"the photos are of {len(found['train'].classes)} classes, and the small nets know {CLASSES}"
        raise NetcError("R781", message, Place(str(root)), f"give a folder with {CLASSES} sub-folders, one a class")
    return found


def _claim(folder: Path, data: str) -> None:
    """A folder of a miniature belongs to one set of pictures."""
    mark = folder / MARK
    if mark.exists():
        other = _data_of(mark)
        if other != data:
            message = f"this folder holds a miniature of {printable(other) or 'the drawn pictures'}"
            raise NetcError("O143", message, Place(str(folder)), "name another folder with --out")
    claim(folder, MARK, "a miniature")
    if not mark.exists():
        write_file(mark, json.dumps({"netc_miniature": 1, "data": data}).encode() + b"\n")


def _data_of(mark: Path) -> str:
    try:
        found = checked_json.parse(read_bytes(mark, 1 << 16))
        checked_json.check(found, _MARK)
    except (OSError, ValueError) as error:
        raise NetcError("O143", f"its mark cannot be read: {error}", Place(str(mark)), "name another folder") from None
    return str(found["data"])


# -- training ----------------------------------------------------------------------------------------------------------


def needed(given: Iterable[Table]) -> Iterator[Trained]:
    """The nets of all rows that can be measured on the pictures of the working folder: photos have no boxes."""
    rows = [row for table in given for row in table.rows]
    own = next((row for row in rows if row.kind == LOCALISATION), None)
    boxed = own is not None and has_boxes(own, DATA)
    for row in rows:
        if row.kind != LOCALISATION or boxed:
            yield from row.needed


def steps_for(needed: Iterable[Trained], iterations: int) -> list[Step]:
    """The steps of all schedules that these nets need, each once, in an order in which they can be trained, as short as
    `iterations` says."""
    found: dict[str, Step] = {}
    for one in needed:
        for step in chosen(list(steps_of(one.net).values()), [one.step]):
            found.setdefault(str(step.prefix), _shortened(step, iterations))
    return list(found.values())


def _shortened(step: Step, iterations: int) -> Step:
    """The step with a length of its own, the plateau's patience in proportion, and snapshots on the way."""
    param = type(step.param)()
    param.CopyFrom(step.param)
    long = step.param.base_lr > 0.005 or _learns_boxes(step)
    param.max_iter = iterations if long else max(1, 2 * iterations // 5)
    param.snapshot = min(SNAPSHOT, param.max_iter)
    param.test_interval = min(TEST, param.max_iter)
    whole = step.param.max_iter / step.param.test_interval
    share = step.param.plateau_param.patience / whole
    param.plateau_param.patience = max(2, round(2 * share * param.max_iter / param.test_interval))
    return replace(step, param=param)


def _learns_boxes(step: Step) -> bool:
    """Whether its last layer is a new one, of boxes: only such a training is steered by its loss."""
    return bool(step.param.plateau_param.goal == step.param.plateau_param.MINIMIZE)


@dataclass(frozen=True, slots=True)
class Training:
    """What was trained: each step with the iteration that it ended at; `stopped`: whether a signal came in between."""

    steps: Sequence[Standing]
    stopped: bool


def train_all(steps: Sequence[Step], say: Say) -> Training:
    """Train the steps that are not done, in the working folder; the log goes to train.log there.

    Raises NetcError as training does.
    """
    found = standings(steps)
    for number, step in enumerate(steps, 1):
        if found[step.name].done:
            continue
        at = found[step.name].iteration
        going = f", from iteration {at}" if at else ""
        say(f"training {step.name} ({number} of {len(steps)}): {step.param.max_iter} iterations{going}")
        stopped = _train(step, found)
        found = standings(steps)
        if stopped:
            return Training(list(found.values()), True)
    return Training(list(found.values()), False)


def _train(step: Step, found: Mapping[str, Standing]) -> bool:
    from netc.runtime.net.numerics import settle
    from netc.runtime.solver.log import Log
    from netc.runtime.solver.report import Report
    from netc.runtime.solver.solver import Solver
    from netc.runtime.solver.training import going_on, signals, train

    settle()
    source = found.get(step.weights_from)
    param, given = step.started_from(source.weights if source else "")
    handle = os.open("train.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with open(handle, "a", encoding="utf-8") as stream:
        log = Log(stream)
        weights = [given] if given else None
        snapshot, identity = going_on(step.prefix, step.path, log, weights=weights)
        run = Solver(
            param, step.origin, weights=given, snapshot=snapshot, report=Report(param, log), signals=signals({}, log)
        )
        run.id, run.start = identity, source.sha256 if source else ""
        with contextlib.closing(run):
            return train(run) == "signal"


def files_of(training: Training) -> Iterator[dict[str, Any]]:
    """Each step's weights, for the result."""
    for one in training.steps:
        yield {"step": one.name, "iterations": one.iteration, "weights": one.weights, "sha256": one.sha256}
