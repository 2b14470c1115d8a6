"""Linear support vector machines on features (appendix B), one against the rest, with scikit-learn's LinearSVC."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError
from netc.runtime.localise.precision import average_precision
from netc.runtime.net import rand
from netc.runtime.transfer.task import PRECISION, RECALL, Measure, Split, Task

GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""The C among which one is chosen. Descriptors have length 1, so the scale of C does not depend on the net."""

HELD_OUT = 0.2
"""Of the training images, those that C is chosen on (appendix B)."""

MOST_STEPS = 20_000

RESAMPLES = 400

_RULES = {PRECISION.format(rule): rule for rule in ("area", "11-point")}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one split gave. `figures`: figure → one value a class; a class without a positive to test on is NaN.
    `unsettled`: how many machines stopped before they had settled. scores, labels: of the test images (images,
    classes)."""

    c: float
    validation: dict[float, float]
    figures: dict[str, Floats]
    unsettled: int
    scores: Floats
    labels: NDArray[np.int8]

    def mean(self, figure: str) -> float:
        return _mean(self.figures[figure])


def outcomes(
    task: Task,
    features: Floats,
    grid: Sequence[float] = GRID,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Each of the task's splits: C chosen on 20 % of the training images, the machines trained again on all of them,
    and tested. `features` (items, D).

    Raises NetcError C300 where scikit-learn is not installed, D591 for features that do not fit the task.
    """
    require()
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) != len(task.items):
        message = f"features of {len(task.items)} pictures are needed, found an array of {features.shape}"
        raise NetcError("D591", message)
    if not np.isfinite(features).all():
        raise NetcError("D591", "the features are not all finite numbers")
    return [_split(task, split, features, sorted(grid), seed, say) for split in task.splits]


def require() -> None:
    """Raises NetcError C300."""
    if find_spec("sklearn") is None:
        message = "the linear machines are scikit-learn's, which is not installed"
        raise NetcError("C300", message, None, "pip install 'netc[features]'")


def _split(
    task: Task, split: Split, x: Floats, grid: Sequence[float], seed: int, say: Callable[[str], None]
) -> Outcome:
    held = _held_out(task.labels[split.train], seed)
    if len(grid) > 1 and not held.any():
        raise NetcError("D590", "no training image is left to choose C on", None, "train on more, or give one --c")
    first, last = split.train[~held], split.train[held]
    validation: dict[float, float] = {}
    for c in grid if len(grid) > 1 else ():
        scores, _ = _scores(x, task.labels, first, last, c, seed)
        figures = _figures(task.measure, scores, task.labels[last])
        validation[c] = _mean(next(iter(figures.values())))
        say(f"C {c:g}: {task.measure} {100 * validation[c]:.2f} % on {len(last)} of {len(split.train)} training images")
    best = (
        max(validation, key=lambda c: np.nan_to_num(validation[c])) if validation else grid[0]
    )  # of equal ones the smallest
    scores, unsettled = _scores(x, task.labels, split.train, split.test, best, seed)
    labels = task.labels[split.test]
    return Outcome(best, validation, _figures(task.measure, scores, labels), unsettled, scores, labels)


def interval(found: Outcome, figure: str, seed: int = 0) -> list[float]:
    """The 95 % interval of a mean figure over test images: of RESAMPLES draws of as many of them, with repetitions, the
    middle 95 %. The machines stay what they are."""
    count, draws = len(found.scores), np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):
        drawn = draws.integers(0, count, count)
        means.append(_mean(_values(figure, found.scores[drawn], found.labels[drawn])))
    return [float(end) for end in np.nanpercentile(means, (2.5, 97.5))]


def _mean(values: Floats) -> float:
    """Of the classes that have one; NaN where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _held_out(labels: NDArray[np.int8], seed: int) -> NDArray[np.bool_]:
    """A fifth of the images, of each class as far as its images show it first: at least one, where it has two."""
    first = np.where((labels == 1).any(1), (labels == 1).argmax(1), -1)
    held = np.zeros(len(labels), bool)
    for label in np.unique(first):
        places = np.flatnonzero(first == label)
        count = max(round(HELD_OUT * len(places)), min(1, len(places) - 1))
        held[places[rand.permutation(len(places), seed, "svm validation", int(label))[:count]]] = True
    return held


def _scores(
    x: Floats, labels: NDArray[np.int8], train: NDArray[np.int64], test: NDArray[np.int64], c: float, seed: int
) -> tuple[Floats, int]:
    """(scores (test, classes), machines that have not settled). What counts as neither is not trained on."""
    columns = [_machine(x[train], labels[train, k], x[test], c, seed) for k in range(labels.shape[1])]
    return np.stack([scores for scores, _ in columns], 1), sum(unsettled for _, unsettled in columns)


def _machine(x: Floats, marks: NDArray[np.int8], test: Floats, c: float, seed: int) -> tuple[Floats, bool]:
    """A class of which the training images show all or none is told by no machine: its scores are equal."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    known = marks != 0
    if len(np.unique(marks[known])) < 2:
        return np.zeros(len(test)), False
    machine: Any = LinearSVC(C=c, dual="auto", random_state=seed, max_iter=MOST_STEPS)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        machine.fit(x[known], marks[known])
    unsettled = any(issubclass(one.category, ConvergenceWarning) for one in said)
    scores: Floats = machine.decision_function(test)
    return scores, unsettled


def _figures(measure: Measure, scores: Floats, labels: NDArray[np.int8]) -> dict[str, Floats]:
    """The figure that C is chosen by comes first."""
    names = [RECALL] if measure == "mean class recall" else list(_RULES)
    return {name: _values(name, scores, labels) for name in names}


def _values(figure: str, scores: Floats, labels: NDArray[np.int8]) -> Floats:
    """A value a class."""
    return _recalls(scores, labels) if figure == RECALL else _precisions(scores, labels, _RULES[figure])


def _recalls(scores: Floats, labels: NDArray[np.int8]) -> Floats:
    right = ((scores.argmax(1) == labels.argmax(1))[:, None] & (labels == 1)).sum(0)
    count = (labels == 1).sum(0)
    recalls: Floats = np.divide(right, count, out=np.full(len(count), np.nan), where=count > 0)
    return recalls


def _precisions(scores: Floats, labels: NDArray[np.int8], rule: Any) -> Floats:
    found = np.full(labels.shape[1], np.nan)
    for k, marks in enumerate(labels.T):
        if (marks == 1).any():
            found[k] = average_precision(scores[marks != 0, k], marks[marks != 0] == 1, rule)
    return found
