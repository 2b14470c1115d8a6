"""One row of a table, measured: the errors of nets, alone or together, by the row's protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.errors import NetcError
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.describe import Describer
from netc.runtime.evaluate.load import classifier_of
from netc.runtime.evaluate.protocol import ORDERS, Protocol
from netc.runtime.evaluate.report import confusions, mistakes, rates
from netc.runtime.evaluate.run import TOP, Outcome, Run
from netc.runtime.evaluate.statistics import difference, mcnemar
from netc.runtime.evaluate.store import Store
from netc.runtime.evaluate.sweep import Member
from netc.runtime.reproduce import boxes, features
from netc.runtime.reproduce.setting import Setting, Value
from netc.runtime.reproduce.weights import find, missing
from netc.solver import tables
from netc.solver.tables import TEST_SET, Row, Table, Trained

MEASURES = {"top1_error": 1, "top5_error": TOP}
"""Measure → among how many classes the true one has to be."""


@dataclass(slots=True)
class _Seen:
    """What a row has found: its results, and what differences to it need."""

    found: dict[str, Any]
    outcome: Outcome | None = None


@dataclass(slots=True)
class Measuring:
    """Measures tables row by row. Nets that the next row needs too stay in memory; a file that is named twice with
    other weights meanwhile is read again."""

    setting: Setting
    _nets: dict[tuple[str, str, str], Classifier] = field(default_factory=dict)

    def table(self, table: Table) -> dict[str, Any]:
        """The rows as they are printed, a dictionary each; see docs/reproduce.md."""
        seen: dict[str, _Seen] = {}
        for row in table.rows:
            self.setting.say(f"{table.name}: {row.name}")
            seen[row.name] = self._row(row, seen)
        return {"rows": [one.found for one in seen.values()]}

    def _row(self, row: Row, seen: Mapping[str, _Seen]) -> _Seen:
        found: dict[str, Any] = {
            "name": row.name,
            "kind": row.kind,
            "nets": [str(member) for member in row.members],
            "view": row.view,
            "above": row.above or None,
            "missing": missing(self.setting.weights, row.needed),
            "why": None,
            "note": None,
            "weights": {},
        }
        result = _Seen(found)
        found |= self._lacking(row)
        if not (found["why"] or found["missing"]):
            self._measure(row, result)
        measured = dict(found.pop("measured", {}))
        if row.above and result.outcome is not None:
            measured = _differences(result.outcome, seen[row.above].outcome, self.setting.order)
            found["why"] = None if measured else f'"{row.above}" is not measured'
        found["figures"] = list(_figures(row, measured))
        return result

    def _lacking(self, row: Row) -> dict[str, Any]:
        """What the pictures lack that the row is measured on; without boxes no weights would help."""
        if row.task is not None and row.task.name not in self.setting.sets:
            return {"why": f"no folder of the data set {row.task.name} is given: --set {row.task.name} FOLDER"}
        if row.kind == tables.LOCALISATION and not boxes.has_boxes(row, self.setting.data):
            return {"why": "the pictures have no boxes", "missing": []}
        return {}

    def _measure(self, row: Row, result: _Seen) -> None:
        paths = {one: find(self.setting.weights, one) or "" for one in row.needed}
        kind = Describer if row.task is not None else Classifier
        wanted = {_key(one, path, kind) for one, path in paths.items()}
        self._nets = {key: net for key, net in self._nets.items() if key in wanted}
        nets = {one: self._net(one, path, kind) for one, path in paths.items()}
        result.found["weights"] = {one.prefix: os.path.basename(path) for one, path in paths.items()}
        if row.task is not None:
            result.found |= features.measured(row, row.task, nets, self.setting)
        elif row.kind == tables.CLASSIFICATION:
            members = self._members(row.members, row.view, row.flip, nets)
            result.outcome, classes = self._outcome(members)
            result.found |= self._summary(result.outcome, classes)
        else:
            named, members = None, self._members(row.naming, row.naming_view, True, nets)
            if members:
                named, _ = self._outcome(members)
            result.found |= boxes.measured(row, nets, members, named, self.setting)

    def _net(self, one: Trained, path: str, kind: type[Classifier]) -> Classifier:
        key = _key(one, path, kind)
        if key not in self._nets:
            self._nets[key] = classifier_of(one.train_val, path, self.setting.wanted, self.setting.say, kind)
        return self._nets[key]

    def _members(
        self, members: Sequence[tables.Member], view: str, flip: bool, nets: Mapping[Trained, Classifier]
    ) -> list[Member]:
        found = []
        for member in members:
            net = nets[member.trained]
            store = Store(self.setting.cache, net.key, self.setting.say)
            given = Protocol(member.test_sides, view, flip, self.setting.order)
            found.append(Member(net, given, store, member.trained.net, member.trained.prefix))
        return found

    def _outcome(self, members: Sequence[Member]) -> tuple[Outcome, Sequence[str]]:
        """The outcome, and the names of the classes."""
        setting = self.setting
        source = setting.open_source(members[0].classifier)
        try:
            done = setting.counting(len(source))
            outcome = Run(source, members, setting.group, setting.workers, setting.streams, done).outcome()
        finally:
            source.close()
        for one in outcome.broken:
            setting.say(f"{one.error.message}: not counted")
        return outcome, setting.labels or source.classes or members[0].classifier.names

    def _summary(self, outcome: Outcome, classes: Sequence[str]) -> dict[str, Any]:
        order = self.setting.order
        own = rates(outcome, order)
        return {
            "images": len(outcome),
            "measured": {
                "top1_error": Value(own["top1_error"], own["interval"]),
                "top5_error": Value(own["top5_error"], own["top5_interval"]),
            },
            "orders": {each: rates(outcome, each) for each in ORDERS},
            "confusions": list(confusions(outcome, order, classes)),
            "mistakes": list(mistakes(outcome, order, classes)),
            "wrong": {name: _wrong(outcome, order, top) for name, top in MEASURES.items()},
            "left_out": [one.index for one in outcome.broken],
        }


def _wrong(outcome: Outcome, order: str, top: int) -> list[int]:
    """Which pictures of the source are wrong."""
    wrong: list[int] = outcome.indices[outcome.rank[:, ORDERS.index(order)] >= top].tolist()
    return wrong


def _key(one: Trained, path: str, kind: type[Classifier]) -> tuple[str, str, str]:
    """A net with its weights as they are on the disk now, and what it is wanted for."""
    try:
        stat = os.stat(path)
    except OSError as error:
        raise NetcError("F120", f"the weights {path} cannot be read: {error.strerror}") from None
    return kind.kind, one.net, f"{path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"


def _figures(row: Row, measured: Mapping[str, Value]) -> Iterator[dict[str, Any]]:
    """Each measure of the row, the paper's figure beside ours: shares in per cent."""
    paper = {figure.measure: figure for figure in row.paper}
    for measure in dict.fromkeys([*paper, *measured]):
        figure, own = paper.get(measure), measured.get(measure)
        if own is None and row.above and figure is None:
            continue
        yield {
            "measure": measure,
            "paper": figure.value if figure else None,
            "spread": figure.spread if figure else None,
            "measured": 100 * own.share if own else None,
            "interval": [100 * end for end in own.interval] if own and own.interval else None,
            "deviation": 100 * own.deviation if own and own.deviation is not None else None,
            "p": own.p if own else None,
            "note": "labels not public" if measure in TEST_SET else None,
        }


def _differences(mine: Outcome, other: Outcome | None, order: str) -> dict[str, Any]:
    """Of two rows on the same pictures: how much larger the error is, in shares, its 95 % interval, and McNemar's p."""
    if other is None or not np.array_equal(mine.indices, other.indices):
        return {}
    at, found = ORDERS.index(order), {}
    for name, top in MEASURES.items():
        test = mcnemar(
            int(((mine.rank[:, at] >= top) & (other.rank[:, at] < top)).sum()),
            int(((other.rank[:, at] >= top) & (mine.rank[:, at] < top)).sum()),
        )
        mean, ends = difference(test.only_first, test.only_second, len(mine))
        found[name] = Value(mean, ends, test.p)
    return found
