"""What rows are measured with: pictures, weights, a place to keep things, threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.load import Wanted
from netc.runtime.evaluate.sources import Source

Say = Callable[[str], None]


@dataclass(slots=True)
class Setting:
    """Where rows are measured. open_source: opens the pictures, given the first net; data: their path; weights: the
    folder of weight files; cache: where posteriors and boxes are kept; workers, streams: as `Run`. `labels`: names of
    the classes, where they are known otherwise than from the source."""

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
