"""How often nets are right on the pictures of a source, by the paper's protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place, counted
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.protocol import ORDERS
from netc.runtime.evaluate.sources import Record
from netc.runtime.evaluate.sweep import Broken, Looked, Sweep

TOP = 5


@dataclass(slots=True)
class Outcome:
    """What was found, a row for each picture that could be read, in the order of the source; the middle axis has the
    two orders of `ORDERS`.

    `rank`: how many other classes are as probable as the true one or more (n, 2); `best`, `probability`: the five most
    probable classes (n, 2, 5). `sha256`: of the records.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    rank: NDArray[np.int64]
    best: NDArray[np.int64]
    probability: NDArray[np.float64]
    sha256: list[str]
    broken: list[Broken] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.indices)


class Run(Sweep):
    """The posteriors of all members averaged, and judged."""

    def check(self) -> None:
        """Raises NetcError R736 for nets of other classes, and what `Classifier.check` raises."""
        first = self.members[0].classifier
        for member in self.members:
            other = member.classifier
            if (other.classes, other.input.channels) != (first.classes, first.input.channels):
                found = f"a net of {_said(first)} and one of {_said(other)} cannot be fused"
                raise NetcError("R736", found, Place(other.graph.path), "fuse nets of the same classes")
        super().check()

    def check_record(self, record: Record) -> None:
        """Raises NetcError R737 for a label that the net does not have."""
        classes = self.members[0].classifier.classes
        if not 0 <= record.label < classes:
            found = f"the picture {record.name} has the label {record.label}, and the net {classes} classes"
            hint = "labels count from 0; --labels FILE, a line for each class of the net, says which folder is which"
            raise NetcError("R737", found, Place(self.source.path), hint)

    def row(self, record: Record, each: Sequence[Looked]) -> tuple[Any, ...]:
        parts = [
            np.stack([member.protocol.combined(found, order) for order in ORDERS])
            for member, found in zip(self.members, each, strict=True)
        ]
        return _judged(record, np.mean(parts, axis=0))

    def outcome(self) -> Outcome:
        """Raises NetcError as `gathered`."""
        return _outcome(*self.gathered())


def _said(classifier: Classifier) -> str:
    return f"{classifier.classes} classes ({counted(classifier.input.channels, 'channel')})"


def _judged(record: Record, found: NDArray[np.float64]) -> tuple[Any, ...]:
    """(index, label, rank, best, probability, SHA-256): a tie counts against the true class, and so does NaN."""
    label = record.label
    true = found[:, label : label + 1]
    rank = (~(found < true)).sum(1) - 1
    best = np.argsort(-found, axis=1, kind="stable")[:, :TOP]
    return record.index, label, rank, best, np.take_along_axis(found, best, 1), record.sha256.hex()


def _outcome(rows: list[tuple[Any, ...]], broken: list[Broken]) -> Outcome:
    columns: Mapping[int, list[Any]] = {at: [row[at] for row in rows] for at in range(6)}
    indices, labels, rank = (np.array(columns[at], np.int64) for at in range(3))
    best, probability = np.array(columns[3], np.int64), np.array(columns[4], np.float64)
    return Outcome(indices, labels, rank.reshape(-1, 2), best, probability, columns[5], broken)
