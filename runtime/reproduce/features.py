"""A row of features: those of all pictures of a data set, by one net or several, and linear machines on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from netc.errors import counted
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.describe import AVERAGE, STACK, description
from netc.runtime.evaluate.store import Store
from netc.runtime.evaluate.sweep import Member
from netc.runtime.reproduce.setting import Setting, Value
from netc.runtime.reproduce.weights import find
from netc.runtime.transfer import measure, svm
from netc.runtime.transfer.extract import Extraction
from netc.runtime.transfer.files import Features
from netc.runtime.transfer.sets import SETS, pictures_of, task_of, usual
from netc.solver.tables import Row, Task, Trained

MEASURES = {"mean average precision": "mean_ap", "mean class recall": "mean_recall"}
"""What a task measures → what a table calls it."""


def check(name: str, folder: str) -> None:
    """Raises NetcError for a folder that is not the data set's, before anything is computed; C300 without
    scikit-learn."""
    svm.require()
    task_of(name, Path(folder), usual(name))


def measured(row: Row, task: Task, nets: Mapping[Trained, Classifier], setting: Setting) -> dict[str, Any]:
    """What a row finds: {"images", "measured", "note", "svm"}; "svm" has all that `netc svm --json` says."""
    folder = setting.sets[task.name]
    features = _features(row, task, nets, setting)

    def machines() -> dict[str, Any]:
        read = [(f"the features of {row.name}", features)]
        return measure.as_dict(measure.measured(task.name, folder, read, task.box, say=setting.say))

    found = setting.group.by_first(machines)
    own = found["figures"][SETS[task.name].figure]
    return {
        "images": sum(found["splits"][0][part] for part in ("train", "test")),
        "measured": {MEASURES[found["measure"]]: Value(own["mean"], own["interval"], deviation=own["deviation"])},
        "note": "; ".join(_notes(task, found)),
        "svm": found,
    }


def _features(row: Row, task: Task, nets: Mapping[Trained, Classifier], setting: Setting) -> Features:
    """The nets' descriptors side by side, each averaged or stacked over its own scales."""
    combine = STACK if task.stack else AVERAGE
    given = [description(one.test_sides, combine, row.flip) for one in row.members]
    members = [
        Member(net, how.protocol, Store(setting.cache, net.key, setting.say, net.kind), one.trained.net, path)
        for one, how in zip(row.members, given, strict=True)
        for net, path in [(nets[one.trained], find(setting.weights, one.trained) or "")]
    ]
    source = pictures_of(setting.sets[task.name], None, task.name)
    try:
        done = setting.counting(len(source))
        run = Extraction(source, members, setting.group, setting.workers, setting.streams, done)
        run.description = given[0]
        return run.extracted().features
    finally:
        source.close()


def _notes(task: Task, found: Mapping[str, Any]) -> Iterator[str]:
    """By which rule, and by the other one; what the set says; what could not be read."""
    for name, figure in found["figures"].items():
        if name != SETS[task.name].figure and figure["mean"] is not None:
            yield f"by {SETS[task.name].figure}; by {name} {100 * figure['mean']:.2f}"
    yield from filter(None, [found["note"]])
    if found["left_out"]:
        yield f"{counted(len(found['left_out']), 'picture')} left out that could not be read"
