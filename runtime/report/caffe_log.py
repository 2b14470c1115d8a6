"""A training log in Caffe's form as two tables, those of Caffe's parse_log.py."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

Row = dict[str, float]
"""NumIters, Seconds since training began, LearningRate, then the outputs by name."""

_TIME = re.compile(r"^[IWEF](?:(\d{4}))?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{6})")
"""glog's prefix: month and day, since 2021 with the year in front."""
_ITERATION = re.compile(r"Iteration (\d+)")
_RATE = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)")
_NUMBER = r"([-+]?(?:[\d.]+(?:[eE][-+]?\d+)?|nan|inf))"
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


def read(lines: Iterable[str]) -> Tables:
    """The tables of a log. An output that repeats within an iteration overwrites the one before, as in parse_log.py."""
    tables, clock = Tables(), _Clock()
    iteration, rate = -1, math.nan
    for line in lines:
        seconds = clock.read(line)
        if found := _ITERATION.search(line):
            iteration = int(found[1])
        if iteration < 0 or seconds is None:
            continue
        if found := _RATE.search(line):
            rate = float(found[1])
        if found := _OUTPUT.search(line):
            rows = tables.train if found[1] == "Train" else tables.test
            if not rows or rows[-1]["NumIters"] != iteration:
                rows.append({"NumIters": iteration, "Seconds": seconds, "LearningRate": rate})
            rows[-1][found[2]] = float(found[3])
    for rows in (tables.train, tables.test):
        _fill_rates(rows, rate)
    return tables


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
