"""The paper's schedule (Sect. 3.1): the rate falls when the validation accuracy stops improving; after the last drop's
own plateau, training ends. T9 (docs/numerics.md): the paper gives no patience and no threshold; both are settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MINIMIZE = 1


class Plateau:
    """The state of `lr_policy: "plateau"`, a function of the observed test outputs only."""

    def __init__(self, param: Any) -> None:
        self.param, self.base_lr, self.gamma = param.plateau_param, float(param.base_lr), float(param.gamma)
        self.drops, self.waited = 0, 0
        self.best: float | None = None
        self.finished = False
        self._seen = -1

    @property
    def rate(self) -> float:
        return float(self.base_lr * self.gamma**self.drops)

    def observe(self, value: float, iteration: int) -> bool:
        """Take the watched output of the test at `iteration`; True where the rate has dropped because of it.

        A test that was observed before (a resumed run repeats the one at its first iteration) changes nothing. Waiting
        starts anew after a drop; the best value stays, so that a lower rate has to beat it.
        """
        if iteration <= self._seen:
            return False
        self._seen = iteration
        if self._improves(value):
            self.best, self.waited = value, 0
            return False
        self.waited += 1
        if self.waited < max(1, self.param.patience):
            return False
        self.finished = self.drops >= self.param.max_drops
        self.drops, self.waited = self.drops + (not self.finished), 0
        return not self.finished

    def _improves(self, value: float) -> bool:
        if self.best is None:
            return value == value
        gain = self.best - value if self.param.goal == MINIMIZE else value - self.best
        return bool(gain > self.param.min_delta)

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps, as JSON."""
        return {
            "drops": self.drops,
            "waited": self.waited,
            "best": self.best,
            "finished": self.finished,
            "seen": self._seen,
        }

    def restore(self, state: Mapping[str, Any], drops: int) -> None:
        """Take up a snapshot's state; one that has only the number of drops (a bare .solverstate) waits anew."""
        self.drops = int(state.get("drops", drops))
        self.waited, self.best = int(state.get("waited", 0)), state.get("best")
        self.finished, self._seen = bool(state.get("finished", False)), int(state.get("seen", -1))
