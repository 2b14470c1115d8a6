"""Linear machines on files of features of a set: matched by the pictures' names, trained, tested, put into words."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place, counted
from netc.runtime.transfer import files, svm
from netc.runtime.transfer.files import Features
from netc.runtime.transfer.sets import Splits, task_of, usual
from netc.runtime.transfer.task import Task


@dataclass(frozen=True, slots=True)
class Measured:
    """`outcomes`: one a split. `left_out`: pictures that could not be read when the features were made."""

    task: Task
    outcomes: Sequence[svm.Outcome]
    dimensions: int
    left_out: Sequence[str]
    features: Sequence[dict[str, Any]]


def run(
    name: str,
    folder: str,
    features: Sequence[str],
    boxes: bool = False,
    splits: Splits | None = None,
    grid: Sequence[float] = svm.GRID,
    say: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Measure features on a data set (appendix B).

    Args:
        name: one of `SETS`; folder: of the set, as its authors ship it.
        features: paths of files of `netc features`; the rows of several are put side by side.
        boxes: of a set with persons' boxes, the features of each box beside those of the whole picture.
        splits: of a set without fixed ones, if not the paper's; its seed also decides which images C is chosen on.
        grid: the C among which one is chosen.
        say: what remarks go to.
    Raises NetcError C300 (scikit-learn missing), D590 to D593, C302 (boxes of a set without), and what reading raises.
    """
    return measured(name, folder, [(path, files.read(path)) for path in features], boxes, splits, grid, say)


def measured(
    name: str,
    folder: str,
    read: Sequence[tuple[str, Features]],
    boxes: bool = False,
    splits: Splits | None = None,
    grid: Sequence[float] = svm.GRID,
    say: Callable[[str], None] = lambda _: None,
) -> Measured:
    """The same of features that are read already, each with what messages call them."""
    svm.require()
    how = splits or usual(name)
    task = task_of(name, Path(folder), how)
    if boxes and not any(item.box for item in task.items):
        raise NetcError("C302", f"the set {name} has no boxes of persons", None, "leave --boxes out")
    known = {name for item in task.items for name in (item.picture, item.key)}
    gone = sorted({key for _, one in read for key in _unreadable(one)} & known)
    if gone:
        say(f"{counted(len(gone), 'picture')} left out that could not be read: {', '.join(gone[:3])}")
        task = task.without(set(gone))
    check(task)
    parts = [rows(path, one, [item.picture for item in task.items], name, folder) for path, one in read]
    if boxes:
        parts += [rows(path, one, [item.key for item in task.items], name, folder) for path, one in read]
    x = np.concatenate(parts, axis=1, dtype=np.float64)
    found = svm.outcomes(task, x, grid, how.seed, say)
    return Measured(task, found, x.shape[1], gone, [one.facts for _, one in read])


def check(task: Task) -> None:
    """Raises NetcError D590 where a split has nothing to train or to test on."""
    for split in task.splits:
        for part, places in (("train", split.train), ("test", split.test)):
            if not (task.labels[places] == 1).any():
                raise NetcError("D590", f"{task.name} has no picture of any class to {part} on")


def _unreadable(one: Features) -> list[str]:
    """Pictures that the file itself says are missing, whole or in part."""
    listed = one.facts.get("unreadable", [])
    return [key for key in listed if isinstance(key, str)] if isinstance(listed, list) else []


def rows(path: str, features: Features, keys: Sequence[str], name: str, folder: str) -> NDArray[Any]:
    """The rows of these pictures. Raises NetcError D593 where one is missing or stands twice with other values."""
    places: dict[str, int] = {}
    for place, key in enumerate(features.keys):
        first = places.setdefault(key, place)
        if first != place and not np.array_equal(features.values[first], features.values[place]):
            raise NetcError("D593", f'"{key}" stands twice, with different features', Place(path))
    missing = [key for key in keys if key not in places]
    if missing:
        others = f" and {counted(len(set(missing)) - 1, 'other')}" if len(set(missing)) > 1 else ""
        made = f"netc features NET --weights W --set {name} {shlex.quote(folder)} -o {shlex.quote(path)}"
        raise NetcError("D593", f'there are no features of "{missing[0]}"{others}', Place(path), f"make them: {made}")
    return features.values[[places[key] for key in keys]]


# -- what was found ----------------------------------------------------------------------------------------------------


def as_dict(found: Measured) -> dict[str, Any]:
    """For JSON: shares, null for what is not known."""
    task = found.task
    names = list(found.outcomes[0].figures)
    return {
        "set": task.name,
        "measure": task.measure,
        "figures": {name: _mean(name, found) for name in names},
        "classes": [
            {"class": called, **{name: _figure([one.figures[name][at] for one in found.outcomes]) for name in names}}
            for at, called in enumerate(task.classes)
        ],
        "splits": [_split(one, split) for one, split in zip(found.outcomes, task.splits, strict=True)],
        "dimensions": found.dimensions,
        "left_out": list(found.left_out),
        "note": task.note,
        "features": list(found.features),
    }


def _mean(name: str, found: Measured) -> dict[str, Any]:
    """Over the classes; of a single split with the 95 % interval over its pictures."""
    only = found.outcomes[0] if len(found.outcomes) == 1 else None
    return {**_figure([one.mean(name) for one in found.outcomes]), "interval": only and svm.interval(only, name)}


def _figure(values: Sequence[float]) -> dict[str, Any]:
    """The mean of the splits, and their standard deviation (that of a sample)."""
    known = [float(value) for value in values if not math.isnan(value)]
    mean = sum(known) / len(known) if known else None
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {"mean": mean, "deviation": deviation, "splits": [None if v != v else float(v) for v in values]}


def _split(one: svm.Outcome, split: Any) -> dict[str, Any]:
    validation = {f"{c:g}": None if value != value else value for c, value in one.validation.items()}
    counts = {"train": len(split.train), "test": len(split.test)}
    return {**counts, "c": one.c, "validation": validation, "unsettled": one.unsettled}


def lines(found: dict[str, Any]) -> list[str]:
    """The same for people, in per cent."""
    names = list(found["figures"])
    width = max(len(one["class"]) for one in found["classes"])
    said = [f"{found['set']}: {found['dimensions']} features" + (f" ({found['note']})" if found["note"] else "")]
    said += [f"{'':{width}}" + "".join(f"{name:>31}" for name in names)]
    for one in found["classes"]:
        said.append(f"{one['class']:{width}}" + "".join(f"{_percent(one[name]):>31}" for name in names))
    said.append(f"{'mean':{width}}" + "".join(f"{_percent(found['figures'][name]):>31}" for name in names))
    for number, one in enumerate(found["splits"]):
        unsettled = f", {counted(one['unsettled'], 'machine')} stopped early" if one["unsettled"] else ""
        said.append(f"split {number + 1}: {one['train']} to train, {one['test']} to test, C = {one['c']:g}{unsettled}")
    return said


def _percent(figure: dict[str, Any]) -> str:
    if figure["mean"] is None:
        return "-"
    deviation = "" if figure["deviation"] is None else f" ± {100 * figure['deviation']:.2f}"
    ends = figure.get("interval")
    interval = f" ({100 * ends[0]:.2f} to {100 * ends[1]:.2f})" if ends else ""
    return f"{100 * figure['mean']:.2f}{deviation}{interval}"
