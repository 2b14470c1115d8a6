"""Boxes as a source has them → the boxes of a record: numbers of classes, edges within the stored picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, printable
from netc.runtime.data.boxes import area, clipped
from netc.runtime.imageset.boxes.base import Annotation, Annotations, Box

Size = tuple[int, int]
"""(height, width)."""

NO_BOXES, NO_OWN = "no boxes", "no box of its own class"
EMPTY, OUTSIDE, OTHER = "without area", "outside its picture", "of a class that has no label"
"""Why a box is left out."""


@dataclass(slots=True)
class Fitted:
    """`boxes`: (k, 5) class, x1, y1, x2, y2 in pixels of the stored picture; `cut`: those that reached beyond it;
    `left_out`: why, and which. `wrong`: why the picture cannot be used, "" where it can."""

    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 5)))
    cut: list[Box] = field(default_factory=list)
    left_out: list[tuple[str, Box]] = field(default_factory=list)
    wrong: str = ""


class Fitting:
    """The boxes of `annotations` for pictures whose classes are `classes`, by their numbers."""

    def __init__(self, annotations: Annotations, classes: tuple[str, ...]) -> None:
        self.annotations = annotations
        self._labels: Mapping[str, int] = {name: number for number, name in enumerate(classes)}

    def fit(self, name: str, label: int, size: Size, stored: Size) -> Fitted:
        """The boxes of a picture of a class and of a size, as it is to be seen, stored in another size.

        A box that reaches beyond the picture is cut at its edges. One without area, before or after that, and one of a
        class without a number are left out. The picture cannot be used without a box of its own class, nor where the
        source says that it has another size, or where its own file of boxes is not what it should be. Raises NetcError
        D566 where classes have names and no numbers are known.
        """
        try:
            annotation = self.annotations.of(name)
        except NetcError as error:
            return Fitted(wrong=f"its boxes cannot be read ({error.place}: {error.message})")
        if annotation is None or not annotation.boxes:
            return Fitted(wrong=NO_BOXES)
        if annotation.size not in (None, size[::-1]):
            said, found = ("×".join(map(str, one)) for one in (annotation.size, size[::-1]))
            return Fitted(wrong=f"its boxes are those of a picture of another size ({said}, and it is {found})")
        fitted, rows = Fitted(), []
        for box in annotation.boxes:
            number = label if not box.name else self._number(box)
            edges = clipped(box.edges, size[1], size[0])
            if reason := _reason(box, number, edges):
                fitted.left_out.append((reason, box))
                continue
            if edges.tolist() != list(box.edges):
                fitted.cut.append(box)
            rows.append([number, *edges * ([stored[1] / size[1], stored[0] / size[0]] * 2)])
        fitted.boxes = np.array(rows, np.float64).reshape(-1, 5)
        if label not in fitted.boxes[:, 0]:
            fitted.wrong = _without_own(fitted)
        return fitted

    def _number(self, box: Box) -> int | None:
        """The number of a box's class, None where it has none."""
        if box.name in self._labels:
            return self._labels[box.name]
        if box.name.isascii() and box.name.isdigit() and len(box.name) < 10:
            return int(box.name)
        if self._labels:
            return None
        message = f'the box is of the class "{printable(box.name)}", and which label that is is not known'
        raise NetcError("D566", message, box.place, "give --labels, the names of the classes in the order of labels")


def _without_own(fitted: Fitted) -> str:
    """Why a picture has no box of its own class: there is none, or the boxes that it has are left out."""
    reasons = dict.fromkeys(reason for reason, _ in fitted.left_out)
    return f"{NO_OWN} that can be used ({', '.join(reasons)})" if reasons else NO_OWN


def _reason(box: Box, number: int | None, edges: NDArray[np.float64]) -> str:
    if number is None:
        return OTHER
    if not area(box.edges) > 0:
        return EMPTY
    return "" if area(edges) > 0 else OUTSIDE


def label_of(annotation: Annotation) -> str | None:
    """The class of a picture that is in no class's folder: that of its largest box; None where no box has a class."""
    named = [box for box in annotation.boxes if box.name and area(box.edges) > 0]
    return max(named, key=lambda box: float(area(box.edges))).name if named else None
