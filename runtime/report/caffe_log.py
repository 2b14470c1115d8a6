"""A training log in Caffe's form: as two tables, those of Caffe's parse_log.py, and as records for curves.

read(lines) -> Tables         records(lines) -> [{"kind": "train", "iter": 20, …}, …] as of a metrics.jsonl
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

Row = dict[str, float]
"""NumIters, Seconds since training began, LearningRate, then the outputs by name."""

_TIME = re.compile(r"^[IWEF](?:(\d{4}))?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{6})")
"""glog's prefix: month and day, since 2021 with the year in front."""
_ITERATION = re.compile(r"Iteration (\d+)")
_RATE = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)")
_NUMBER = r"([-+]?(?:[\d.]+(?:[eE][-+]?\d+)?|nan|inf))"
_LOSS = re.compile(r"Iteration \d+.{0,200}, loss = " + _NUMBER)  # bounded: a hostile line must not cost its square
_NET = re.compile(r"Testing net \(#(\d+)\)")
_OUTPUT = re.compile(r"(Train|Test) net output #\d+: (\S+) = " + _NUMBER)


@dataclass(slots=True)
class Tables:
    """The rows of both kinds, in the order of the log."""

    train: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)


class _Clock:
    """Seconds since the line that says "Solving", over the end of a year too."""

    def __init__(self) -> None:
        self.start: datetime | None = None
        self._last: datetime | None = None
        self._year = 2000

    def read(self, line: str) -> float | None:
        """The seconds of a line; None where it has no time, or training has not begun."""
        found = _TIME.match(line)
        if found is None:
            return None
        year, *rest = found.groups()
        try:
            now = datetime(int(year or self._year), *map(int, rest))  # type: ignore[arg-type]
        except ValueError:
            return None
        if year is None and self._last is not None and now.month < self._last.month:
            self._year += 1
            now = now.replace(year=self._year)
        self._last = now
        if self.start is None and "Solving" in line:
            self.start = now
        return None if self.start is None else (now - self.start).total_seconds()


class _Said(NamedTuple):
    """A number of a log: an output of training or of test net `net`, the smoothed loss ("loss"), a rate ("lr")."""

    kind: str
    net: int
    iteration: int
    seconds: float
    name: str
    value: float


def _said(lines: Iterable[str]) -> Iterator[_Said]:
    """Every number, from the line that says "Solving" on."""
    clock, iteration, net = _Clock(), -1, 0
    for line in lines:
        seconds = clock.read(line)
        if found := _ITERATION.search(line):
            iteration = int(found[1])
        if iteration < 0 or seconds is None:
            continue
        if found := _NET.search(line):
            net = int(found[1])
        if found := _RATE.search(line):
            yield _Said("lr", 0, iteration, seconds, "", float(found[1]))
        if found := _LOSS.search(line):
            yield _Said("loss", 0, iteration, seconds, "", float(found[1]))
        if found := _OUTPUT.search(line):
            kind = found[1].lower()
            yield _Said(kind, net if kind == "test" else 0, iteration, seconds, found[2], float(found[3]))


def read(lines: Iterable[str]) -> Tables:
    """The tables of a log. An output that repeats within an iteration overwrites the one before, as in parse_log.py."""
    tables, rate = Tables(), math.nan
    for said in _said(lines):
        if said.kind == "lr":
            rate = said.value
        elif said.kind != "loss":
            rows = tables.train if said.kind == "train" else tables.test
            if not rows or rows[-1]["NumIters"] != said.iteration:
                rows.append({"NumIters": said.iteration, "Seconds": said.seconds, "LearningRate": rate})
            rows[-1][said.name] = said.value
    for rows in (tables.train, tables.test):
        _fill_rates(rows, rate)
    return tables


def records(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The records that a metrics.jsonl would have, with the seconds since training began. The loss of training is the
    one that Caffe smooths. What a log that goes on says again takes the place of what it said before."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for said in _said(lines):
        if said.kind == "loss":
            _add(found, said, {"loss": said.value, "lr": math.nan})
        elif said.kind == "lr":
            for record in found.get(("train", 0), [])[-1:]:
                record["lr"] = said.value
        elif said.kind == "test":
            last = found.get(("test", said.net), [])[-1:]
            same = bool(last) and last[0]["iter"] == said.iteration and said.name not in last[0]["outputs"]
            record = last[0] if same else _add(found, said, {"net": said.net, "outputs": {}})
            record["outputs"][said.name] = said.value
    return [record for rows in found.values() for record in rows]


def _add(found: dict[tuple[str, int], list[dict[str, Any]]], said: _Said, values: dict[str, Any]) -> dict[str, Any]:
    """A record more; those of its kind from this iteration on are of a run that was given up."""
    kind = "test" if said.kind == "test" else "train"
    rows = found.setdefault((kind, said.net), [])
    while rows and rows[-1]["iter"] >= said.iteration:
        rows.pop()
    rows.append({"kind": kind, "iter": said.iteration, "seconds": said.seconds, **values})
    return rows[-1]


def _fill_rates(rows: Sequence[Row], last: float) -> None:
    """The first row stands in the log before the first rate is said: it has that of the next."""
    if rows and math.isnan(rows[0]["LearningRate"]):
        rows[0]["LearningRate"] = rows[1]["LearningRate"] if len(rows) > 1 else last


def table(rows: Sequence[Row], delimiter: str = ",") -> str:
    """Rows as text with a line of names; an output that a row lacks is empty there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
