"""The demonstration, step by step: pictures, databases, statistics, training, testing, curves.

What a step has made is kept: run again in the same folder, the demonstration goes on where it was stopped, and trains
what the user has edited.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netc.errors import NetcError, Place
from netc.files.shipped import FOLDER
from netc.runtime.demo.draw import write_set
from netc.runtime.imageset import Recipe, build, from_folders, read_annotations
from netc.runtime.imageset.mean import as_dict, statistics
from netc.runtime.imageset.writer import write_file

NET = "mini_vgg_A"
FILES = ("solver.prototxt", "train_val.prototxt", "deploy.prototxt")
SEED = 1
SETS = {"train": (0, 1500), "val": (1500, 500)}
"""Name → number of the first picture, and how many."""

ITERATIONS = 500
MARK = "demo.json"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`accuracy`: top-1 on the validation pictures. Paths are relative to the demonstration's folder."""

    iteration: int
    accuracy: float
    weights: Path
    curves: Path


def prepare(folder: Path, say: Say, progress: Callable[[int, int], None] | None = None) -> None:
    """Pictures, databases, statistics and the net's own files in `folder`. Raises O143 for a folder of other things."""
    claim(folder, MARK, "a demonstration")
    write_file(folder / MARK, json.dumps({"net": NET, "seed": SEED}).encode() + b"\n")
    furnish(folder, say, progress)


def furnish(folder: Path, say: Say, progress: Callable[[int, int], None] | None = None) -> None:
    """What a folder that is there lacks of pictures, databases, statistics and the net's own files."""
    for name, (first, count) in SETS.items():
        database = folder / f"{name}_lmdb"
        if not database.exists():
            pictures = folder / "pictures" / name
            write_set(pictures, SEED, first, count, progress)
            say(f"drew {count} pictures of ten classes, each with its box: {pictures}")
            boxes = read_annotations(pictures / "boxes.json")
            summary = build(from_folders(pictures).shuffled(SEED), database, Recipe(encoded=True), boxes=boxes)
            say(f"wrote the database {database}: {summary.pictures} pictures, {summary.datum_bytes / 2**20:.1f} MiB")
    if not (folder / "colors.json").exists():
        found = as_dict(statistics(folder / "train_lmdb"))
        write_file(folder / "colors.json", (json.dumps(found, indent=2) + "\n").encode())
        say("mean colour (blue, green, red): " + ", ".join(f"{value:.1f}" for value in found["channel_mean"]))
    for name in FILES:
        if not (folder / name).exists():
            write_file(folder / name, (FOLDER / NET / name).read_bytes())


def claim(folder: Path, mark: str, what: str) -> None:
    """Make a folder, if it is not there, for what is named by the file `mark` in it. Raises NetcError O143 for a folder
    of other things, O142."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).exists():
        hint = "name another folder with --out, or empty this one"
        raise NetcError("O143", f"this folder holds other things than {what}", Place(str(folder)), hint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NetcError("O142", f"the folder cannot be made: {error.strerror}", Place(str(folder))) from None


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """The solver's names (snapshots, databases) count from the working folder, as in Caffe."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def train_and_test(iterations: int, say: Say, log: Path = Path("train.log")) -> Outcome | None:
    """Train by solver.prototxt in the working folder up to `iterations`, going on from its newest snapshot; then test
    on all validation pictures and draw the curves. None where a signal stopped the training."""
    from netc.runtime.solver.log import Log
    from netc.runtime.solver.metrics import path_of
    from netc.runtime.solver.training import train

    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with open(handle, "a", encoding="utf-8") as stream, contextlib.closing(_start(iterations, Log(stream), say)) as run:
        if run.iter < run.param.max_iter and train(run) == "signal":
            return None
        if run.report.tested_at != run.iter:
            run.test()
        curves = draw_curves(path_of(run.prefix), Path("curves.png"), run.net.graph.name)
        return Outcome(run.iter, run.report.accuracy, _weights(run), curves)


def _start(iterations: int, log: Any, say: Say) -> Any:
    from netc.graph.read import locate_solver
    from netc.runtime.net.numerics import settle
    from netc.runtime.solver.solver import Solver
    from netc.runtime.solver.training import going_on, signals
    from netc.solver.settings import prefix

    settle()
    param, origin = locate_solver("solver.prototxt")
    param.max_iter = iterations
    snapshot, identity = going_on(prefix(param, origin.start.path), origin.start.path, log)
    run = Solver(param, origin, snapshot=snapshot, report=_teller(param, log, say), signals=signals({}, log))
    run.id = identity
    return run


def _teller(param: Any, log: Any, say: Say) -> Any:
    """A report that also tells the accuracy after each test, and remembers the last."""
    from netc.runtime.solver.progress import Progress
    from netc.runtime.solver.report import Report

    class Teller(Report):
        tested_at, accuracy = -1, 0.0

        def tested(self, iteration: int, number: int, result: Any, with_loss: bool) -> None:
            super().tested(iteration, number, result, with_loss)
            self.tested_at, self.accuracy = iteration, result.value("accuracy")
            say(f"iteration {iteration}: accuracy {self.accuracy:.3f}")

    return Teller(param, log, Progress(param.max_iter))


def _weights(run: Any) -> Path:
    return Path(f"{run.prefix}_iter_{run.iter}.caffemodel")


def draw_curves(metrics: Path, picture: Path, title: str) -> Path:
    """The curves of a run, from its records, as a PNG."""
    from netc.runtime.report.curves import draw, panels_of, save
    from netc.runtime.solver.metrics import read

    panels, marks = panels_of(read(metrics, newest=True))
    save(draw(panels, title, marks), picture)
    return picture
