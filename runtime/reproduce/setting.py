"""What rows are measured with: pictures, weights, a place to keep things, threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.load import Wanted
from netc.runtime.evaluate.sources import Source
from netc.runtime.parallel.group import Group

Say = Callable[[str], None]


class Value(NamedTuple):
    """A measured figure as a share; the ends of its 95 % interval; of a difference, McNemar's p; of several splits, the
    standard deviation."""

    share: float
    interval: Sequence[float] | None = None
    p: float | None = None
    deviation: float | None = None


@dataclass(slots=True)
class Setting:
    """Where rows are measured. open_source: opens the pictures, given the first net; data: their path, "" where the
    tables need none; weights: the folder of weight files; cache: where posteriors, features and boxes are kept;
    workers, streams: as `Run`. `labels`: names of the classes, where they are known otherwise than from the source.
    `sets`: the folders of other data sets, by name. `boxes`: False where it is known that the pictures have none."""

    open_source: Callable[[Classifier], Source]
    data: str
    weights: str
    cache: str
    wanted: Wanted
    order: str
    workers: int
    streams: int
    say: Say
    progress: Callable[[int, int], None] | None = None
    labels: Sequence[str] = ()
    sets: Mapping[str, str] = field(default_factory=dict)
    group: Group = field(default_factory=Group)
    boxes: bool = True

    def counting(self, total: int) -> Callable[[int], None] | None:
        """What is called with the number of pictures that this process has done; the others have done as many."""
        show, size = self.progress, self.group.size
        return (lambda count: show(min(count * size, total), total)) if show else None
