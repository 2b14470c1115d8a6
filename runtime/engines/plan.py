"""How the blobs of one call are computed by an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from netc.runtime.engines.backends import Program
from netc.runtime.engines.cut import Segment
from netc.runtime.engines.known import Engine
from netc.runtime.engines.taken import Taken


@dataclass(slots=True)
class Part:
    """A segment with its programs, by the shapes of its inputs (without the batch, where it is free). The first size of
    images that is seen has one of its own; `of_any_size` serves all others, where `any_size` says that there can be
    such a program (None: not known yet). `taken`: the weights that these were made of."""

    segment: Segment
    programs: dict[Any, Program] = field(default_factory=dict)
    free_batch: bool | None = None
    any_size: bool | None = None
    of_any_size: Program | None = None
    taken: Taken | None = None

    def forget_if_changed(self) -> None:
        """Drop the programs where a weight is not what it was."""
        if self.taken is not None and self.taken.changed():
            self.programs.clear()
            self.of_any_size = self.taken = None


@dataclass(slots=True)
class Plan:
    """How the blobs of one call are computed. `differences`: of each blob that was proved, the largest one, relative to
    its largest value. `started`: seconds that building and proving took."""

    engine: Engine
    parts: list[Part]
    differences: dict[str, float] = field(default_factory=dict)
    started: float = 0.0
