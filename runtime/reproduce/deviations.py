"""What stands between a measured figure and the paper's, by its number in docs/numerics.md."""

from __future__ import annotations

from collections.abc import Sequence

DEVIATIONS = {
    "T1": "the paper draws the first weights with a variance of 10⁻², which cannot train; netc's nets have a standard "
    "deviation of 10⁻²",
    "T2": "net A's layers are copied to their namesakes in the deeper nets, not by position",
    "T3": "pooling rounds up, as Caffe did: a dense map may have a place more than with rounding down",
    "T4": "LRN has Krizhevsky's parameters, in Caffe's formula (alpha divided by the size)",
    "T7": "of a net with boxes for each class, those of the true class alone get a gradient; the paper does not say",
    "T8": "boxes are in parts of the crop's sides; the paper does not say",
    "T9": "the rate falls after a number of tests without improvement on a centre crop; the paper gives neither",
    "T10": "the 5 × 5 crops lie from corner to corner at even distances, rounded to whole pixels; assumed",
    "T11": "over a dense map scores are averaged, then soft-maxed; the paper does not say, and both orders are told",
    "T12": "the colour shift is Krizhevsky's, with the principal components that the net's file has",
    "T13": "colours are blue, green, red with the mean of the published nets",
    "T14": "two boxes match by netc's own measure, as OverFeat's contradicts itself as printed",
}

MINIATURE = (
    "the nets have a quarter of the width, crops of 64 pixels and 10 classes: the paper's figures stand beside them as "
    "a reminder of what was found there, not as a goal",
    "S and Q are the paper's for crops of 64 pixels in place of 224, as the small nets' schedules have them",
    "training is much shorter than the schedules', and its plateaus with it",
)
"""Of a miniature, besides those of its tables."""


def listed(numbers: Sequence[str]) -> list[dict[str, str]]:
    """[{"number", "text"}] of those that are known; others, of a user's own table, keep their number."""
    return [{"number": number, "text": DEVIATIONS.get(number, "")} for number in numbers]
