"""A table of the paper: rows, each of them nets, how they are tested, and what the paper has measured.

table = read_table(open_file(locate("table5", "table5.prototxt")))
table.rows[0].nets[0].prefix              # what the weights are called: "vgg_D_jitter"
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from netc import proto
from netc.errors import NetcError, counted, did_you_mean, raise_all
from netc.errors.origin import Origin
from netc.files.shipped import FOLDER, names
from netc.graph.read import TextFile
from netc.prototxt import Source, parse
from netc.solver.schedule import Step, read_schedule

CLASSIFICATION, LOCALISATION, FEATURES = "classification", "localisation", "features"

TEST_SET = ("top5_error_test", "top5_box_error_test")
"""Measures on a test set whose labels are not public."""

TASKS = ("voc2007", "voc2012", "voc-action", "caltech101", "caltech256", "folder")
"""The data sets whose features are measured, as `netc features --set` calls them."""

_BOXES = ("box_error", "top5_box_error", "top5_box_error_test")
_FEATURES = ("mean_ap", "mean_recall")


@dataclass(frozen=True, slots=True)
class Figure:
    """What the paper says, in per cent. `measure`: "top1_error", …; spread: what stands behind ±, or None."""

    measure: str
    value: float
    spread: float | None = None

    def __str__(self) -> str:
        return f"{self.value:.1f}" + (f" ± {self.spread:.1f}" if self.spread is not None else "")


@dataclass(frozen=True, slots=True)
class Trained:
    """A net that a step of its schedule trains."""

    net: str
    step: str

    @property
    def train_val(self) -> str:
        """The path of the net, which comes with netc."""
        return str(FOLDER / self.net / "train_val.prototxt")

    @property
    def prefix(self) -> str:
        """The name that the step's snapshots begin with."""
        return os.path.basename(os.fspath(steps_of(self.net)[self.step].prefix))


@dataclass(frozen=True, slots=True)
class Member:
    """A net of a row. train_sides: S, or the least and the greatest; test_sides: each Q; rating: the classifier that
    rates its boxes."""

    trained: Trained
    train_sides: tuple[int, ...]
    test_sides: tuple[int, ...]
    rating: Trained | None = None

    @property
    def needed(self) -> tuple[Trained, ...]:
        return (self.trained, self.rating) if self.rating else (self.trained,)

    def __str__(self) -> str:
        """As the paper has it: D/[256;512]/256,384,512."""
        s = f"[{';'.join(map(str, self.train_sides))}]" if len(self.train_sides) > 1 else str(self.train_sides[0])
        return f"{self.trained.net.partition('vgg_')[2]}/{s}/{','.join(map(str, self.test_sides))}"


@dataclass(frozen=True, slots=True)
class Task:
    """How features are used on another data set."""

    name: str
    stack: bool
    box: bool


@dataclass(frozen=True, slots=True)
class Row:
    """See TableRow of caffe.proto. view, naming_view: "dense", "crops", "both" or "centre"."""

    name: str
    members: tuple[Member, ...]
    view: str
    flip: bool
    naming: tuple[Member, ...]
    naming_view: str
    task: Task | None
    paper: tuple[Figure, ...]
    above: str

    @property
    def kind(self) -> str:
        if self.task is not None:
            return FEATURES
        boxes = self.naming or any(figure.measure in _BOXES for figure in self.paper)
        return LOCALISATION if boxes else CLASSIFICATION

    @property
    def needed(self) -> list[Trained]:
        """All nets whose weights the row takes, each once."""
        return list(dict.fromkeys(one for member in (*self.members, *self.naming) for one in member.needed))


@dataclass(frozen=True, slots=True)
class Table:
    """`deviations`: numbers of docs/numerics.md, "T1" to "T14"."""

    name: str
    title: str
    deviations: tuple[str, ...]
    rows: tuple[Row, ...]

    def lines(self) -> Iterator[str]:
        """The rows for people."""
        for row in self.rows:
            figures = ", ".join(f"{figure.measure.replace('_', ' ')} {figure}" for figure in row.paper)
            above = f" above {row.above}" if row.above else ""
            yield f"{row.name}: {' '.join(map(str, row.members))}, {row.view}; {figures or 'no figure'}{above}"


@cache
def steps_of(net: str) -> dict[str, Step]:
    """The steps of the schedule of a net that comes with netc, by name."""
    source = Source.read(FOLDER / net / "schedule.prototxt")
    return {step.name: step for step in read_schedule(TextFile(source, parse(source)))}


def read_table(file: TextFile) -> Table:
    """Raises NetcError S220 (no rows, a row without nets or sides), S221 (names), S222 (a net or step that there is
    not), S223 (figures that do not fit the row); all of them at once."""
    param, origin = file.table()
    if not param.row:
        raise NetcError("S220", "a table has at least one row", origin.start, "write row { net { … } }")
    errors: list[NetcError] = []
    rows: list[Row] = []
    for number, given in enumerate(param.row):
        reader = _Reader(given, origin, f"row[{number}]", {row.name for row in rows})
        rows += reader.rows()
        errors += reader.errors
    raise_all(errors)
    name = param.table or os.path.splitext(os.path.basename(file.source.path))[0]
    return Table(name, param.title, tuple(param.deviation), tuple(rows))


class _Reader:
    """One row, and what is wrong with it. `names`: those of the rows above it."""

    def __init__(self, given: Any, origin: Origin, at: str, names: set[str]) -> None:
        self.given, self.origin, self.at, self.names = given, origin, at, names
        self.errors: list[NetcError] = []

    def rows(self) -> list[Row]:
        given = self.given
        members = self._members("net")
        naming = self._members("naming")
        name = given.name or " ".join(map(str, members))
        if not members and not self.errors:
            self._fault("S220", "", f"the row {name!r} has no net", "write net { net: … step: … test_side: … }")
        if name in self.names:
            self._fault("S221", "name", f'two rows are called "{name}"', "name them apart")
        if given.above and given.above not in self.names:
            near = did_you_mean(given.above, self.names)
            self._fault("S221", "above", f'no row above it is called "{given.above}"{near}', "name a row above it")
        view = _word("TableRow.View", given.view)
        task = Task(given.task.name, given.task.stack, given.task.box) if given.HasField("task") else None
        paper = tuple(
            Figure(_word("TableFigure.Measure", one.measure), _decimal(one.value), _spread(one)) for one in given.paper
        )
        if task is not None and task.name not in TASKS:
            message = f'no data set is called "{task.name}"{did_you_mean(task.name, TASKS)}'
            self._fault("S222", "task.name", message, f"one of {', '.join(TASKS)}")
        row = Row(
            name, members, view, given.flip, naming, _word("TableRow.View", given.naming_view), task, paper, given.above
        )
        self._check_figures(row)
        return [row]

    def _fault(self, code: str, field: str, message: str, hint: str) -> None:
        self.errors.append(NetcError(code, message, self.origin.place(f"{self.at}{field and '.'}{field}"), hint))

    def _members(self, field: str) -> tuple[Member, ...]:
        found = []
        for number, one in enumerate(getattr(self.given, field)):
            at, before = f"{field}[{number}]", len(self.errors)
            known = self._known(one.net, one.step, f"{at}.net", f"{at}.step")
            rated = bool(one.rating_net or one.rating_step)
            known &= not rated or self._known(one.rating_net, one.rating_step, f"{at}.rating_net", f"{at}.rating_step")
            self._check_sides(one.train_side, f"{at}.train_side", 2)
            self._check_sides(one.test_side, f"{at}.test_side", 64)
            if known and len(self.errors) == before:
                rating = Trained(one.rating_net, one.rating_step) if rated else None
                found.append(Member(Trained(one.net, one.step), tuple(one.train_side), tuple(one.test_side), rating))
        return tuple(found)

    def _check_sides(self, sides: Sequence[int], field: str, most: int) -> None:
        if not 1 <= len(sides) <= most or not all(1 <= side <= 1 << 14 for side in sides) or len({*sides}) < len(sides):
            what = "S, or the least and the greatest" if most == 2 else "each Q once"
            self._fault("S220", field, f"these are {counted(len(sides), 'side')}: {what}", "from 1 to 16384 pixels")

    def _known(self, net: str, step: str, net_field: str, step_field: str) -> bool:
        if net not in names():
            near = did_you_mean(net, names())
            self._fault("S222", net_field, f'no net that comes with netc is called "{net}"{near}', ", ".join(names()))
            return False
        if step not in steps_of(net):
            steps = steps_of(net)
            message = f'the schedule of {net} has no step "{step}"{did_you_mean(step, steps)}'
            self._fault("S222", step_field, message, f"its steps: {', '.join(steps)}")
            return False
        return True

    def _check_figures(self, row: Row) -> None:
        fits = {CLASSIFICATION: ("top1_error", "top5_error", "top5_error_test"), LOCALISATION: _BOXES}
        for number, figure in enumerate(row.paper):
            at = f"paper[{number}]"
            if figure.measure not in fits.get(row.kind, _FEATURES):
                message = f"{figure.measure.upper()} is not a measure of a row of {row.kind}"
                self._fault("S223", f"{at}.measure", message, "boxes, classes and features have rows of their own")
            if not 0 <= figure.value <= 100:
                self._fault("S223", f"{at}.value", f"{figure.value} is not a share in per cent", "from 0 to 100")
        if len({figure.measure for figure in row.paper}) < len(row.paper):
            self._fault("S223", "paper", "the row has two figures of one measure", "keep one")


def _word(enum: str, value: int) -> str:
    return proto.enum(enum)(value).name.lower()


def _decimal(value: float) -> float:
    """A float of a prototxt as it is written there: of seven digits at most."""
    return float(f"{value:.6g}")


def _spread(figure: Any) -> float | None:
    return _decimal(figure.spread) if figure.HasField("spread") else None
