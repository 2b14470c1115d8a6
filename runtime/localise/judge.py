"""ILSVRC's criterion of localisation, and the constant box that a net has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.runtime.data.boxes import Boxes, iou
from netc.runtime.data.datum import Picture
from netc.runtime.evaluate.statistics import wilson
from netc.runtime.evaluate.sweep import Broken
from netc.runtime.localise.predict import Located

ENOUGH = 0.5
"""A box is right if it shares more than this with one of its class (IoU)."""

EXAMPLES = 12


def own_boxes(picture: Picture) -> Boxes:
    """(k, 4) the picture's boxes of its own class; none where it has none."""
    if picture.boxes is None:
        return np.zeros((0, 4))
    found: Boxes = picture.boxes[picture.boxes[:, 0] == picture.label, 1:]
    return found


def overlap(box: Any, truth: Boxes) -> float:
    """The largest IoU of a box with any of (k, 4) boxes."""
    return float(iou(np.asarray(box), truth).max(initial=0.0))


@dataclass(slots=True)
class Tally:
    """What was right, picture by picture. `indices`: their places among the records; `overlaps`: the IoU of the box of
    the true class; `boxes`: that box and those of the record; `first`, `five`: whether
    the first, and any of the first five of the classes that a classifier names, is the true one with an IoU above
    0.5; `broken`: the records that could not be read."""

    indices: list[int] = field(default_factory=list)
    overlaps: list[float] = field(default_factory=list)
    boxes: list[tuple[Any, Any]] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)
    five: list[bool] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)

    def add(self, index: int, own: Located, truth: Boxes, found: Sequence[Located] = ()) -> None:
        """`own`: the box of the true class; `found`: those of the named classes, the most probable one first."""
        self.indices.append(index)
        self.overlaps.append(overlap(own.box, truth))
        self.boxes.append((np.asarray(own.box).tolist(), np.asarray(truth).tolist()))
        if found:
            right = [one.label == own.label and overlap(one.box, truth) > ENOUGH for one in found[:5]]
            self.first.append(right[0])
            self.five.append(any(right))

    def as_dict(self) -> dict[str, Any]:
        """What is printed. `interval`: of 95 %, of the last error that is there."""
        own = [value > ENOUGH for value in self.overlaps]
        result: dict[str, Any] = {"images": len(own), "mean_iou": float(np.mean(self.overlaps))}
        result["ground_truth_class_error"] = _error(own)
        if self.five:
            result |= {"top1_localisation_error": _error(self.first), "top5_localisation_error": _error(self.five)}
        judged = self.five or own
        result["interval"] = list(wilson(judged.count(False), len(judged)))
        return result | ({"unreadable": len(self.broken)} if self.broken else {})

    def examples(self) -> list[dict[str, Any]]:
        """Some pictures from beginning to end, for JSON."""
        step = max(1, len(self.boxes) // EXAMPLES)
        places = list(range(0, len(self.boxes), step))[:EXAMPLES]
        return [
            {
                "index": self.indices[at],
                "box": self.boxes[at][0],
                "truth": self.boxes[at][1],
                "overlap": self.overlaps[at],
            }
            for at in places
        ]


def _error(right: Sequence[bool]) -> float:
    return 1 - sum(right) / len(right)


def best_constant(truths: Sequence[Boxes], sizes: Sequence[tuple[int, int]]) -> tuple[Boxes, float]:
    """The box, in parts of a picture's sides (width, height), that has the highest mean IoU with those of these very
    pictures, and that mean: from their mean box on, an edge at a time by smaller and smaller steps. A net that looks at
    pictures is above it."""
    parts = [truth / np.array([width, height] * 2) for truth, (width, height) in zip(truths, sizes, strict=True)]

    def score(box: Boxes) -> float:
        return float(np.mean([overlap(box, truth) for truth in parts]))

    best = np.mean([truth.mean(0) for truth in parts], 0)
    step, value = 0.1, score(best)
    while step > 0.001:
        moves = [best + step * sign * np.eye(4)[k] for k in range(4) for sign in (-1, 1)]
        values = [score(move) for move in moves]
        if max(values) > value:
            best, value = moves[int(np.argmax(values))], max(values)
        else:
            step /= 2
    return best, value
