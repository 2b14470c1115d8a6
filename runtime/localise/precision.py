"""Average precision, as the PASCAL VOC challenges measure it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from netc.errors import NetcError
from netc.runtime.data.boxes import Boxes

ELEVEN = np.arange(11) / 10
"""The recalls of VOC 2007's rule."""


def average_precision(scores: Any, positive: Any, rule: Literal["area", "11-point"] = "area") -> float:
    """The average precision of a ranking: `scores` (n), and which of the n are `positive`.

    At each score, those with at least this score are retrieved; equal ones come together, so that the order of the
    arrays does not matter. The precision at a recall is the highest one at this recall or above (VOC's devkits do so).
    "area", of VOC 2010 and later: the area below that curve. "11-point", of VOC 2007 and before: its mean at the
    recalls 0, 0.1, …, 1. scikit-learn's average_precision_score does not take the highest, and is lower.

    Raises NetcError D563 for arrays that do not fit, scores that are not finite, a ranking without a positive, and
    another rule.
    """
    scores, positive = _checked(scores, positive, rule)
    recall, precision = curve(scores, positive)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    if rule == "area":
        return float(np.diff(recall, prepend=0) @ highest)
    reached = [highest[recall >= least - 1e-12] for least in ELEVEN]  # 3 / 10 of the positives is a recall of 0.3
    return float(np.mean([found[0] if len(found) else 0.0 for found in reached]))


def curve(scores: Boxes, positive: Boxes) -> tuple[Boxes, Boxes]:
    """(recall, precision) at each different score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(positive[order])
    last = np.flatnonzero(np.diff(scores[order], append=np.nan))  # of those with the same score
    return found[last] / found[-1], found[last] / (last + 1)


def _checked(scores: Any, positive: Any, rule: str) -> tuple[Boxes, Boxes]:
    if rule not in ("area", "11-point"):
        raise NetcError("D563", f'"{rule}" is not a rule of average precision', None, "area and 11-point are")
    try:
        scores, marks = np.asarray(scores, np.float64), np.asarray(positive, np.float64)
    except (TypeError, ValueError) as error:
        raise NetcError("D563", f"scores and marks are arrays of numbers ({error})") from None
    if scores.ndim != 1 or scores.shape != marks.shape:
        message = f"takes n scores and n marks, found arrays of {scores.shape} and {marks.shape}"
        raise NetcError("D563", message)
    if not np.isfinite(scores).all() or not np.isin(marks, (0, 1)).all():
        raise NetcError("D563", "scores are finite, and marks true or false (1 or 0)")
    if not marks.any():
        raise NetcError("D563", "nothing is positive, so there is no recall")
    return scores, marks
