"""The nets of a localisation, as a command names them: what predicts boxes, and what rates them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from netc.errors import NetcError
from netc.files.shipped import locate
from netc.graph.filter import phase_number
from netc.graph.read import read_net
from netc.runtime.data.boxes import Boxes
from netc.runtime.data.datum import Picture
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.classify import default_scale
from netc.runtime.evaluate.load import Wanted, classifier_of
from netc.runtime.localise.merging import THRESHOLD
from netc.runtime.localise.predict import (
    Localiser,
    Located,
    Predictions,
    best_classes,
    central,
    check_rating,
    everywhere,
    localiser,
    located,
)

TEST = phase_number("TEST")


@dataclass(frozen=True, slots=True)
class System:
    """`nets`: the localisers, each with the classifier that rates its boxes, if there is one. `scales`: the shorter
    sides Q at which all of them look at a picture. `threshold`: of merging."""

    nets: Sequence[tuple[Localiser, Classifier | None]]
    scales: Sequence[int]
    threshold: float = THRESHOLD

    @property
    def rated(self) -> bool:
        return all(rating is not None for _, rating in self.nets)

    def predictions(self, picture: Picture) -> list[Predictions]:
        """Of every net at every scale."""
        return [everywhere(*pair, picture, short) for short in self.scales for pair in self.nets]

    def best(self, picture: Picture, count: int) -> list[Located]:
        """Protocol 2: the boxes of the most probable classes; of a system without a classifier the one box that its
        nets give whatever the class. Raises NetcError R764 where boxes of classes have no classifier to choose."""
        found = self.predictions(picture)
        if self.rated:
            return [located(found, picture, label, self.threshold) for label in best_classes(found, count)]
        if any(net.per_class for net, _ in self.nets):
            hint = "give --classifier and --classifier-weights, or --label, the class that is looked for"
            raise NetcError("R764", "each class has a box of its own, and nothing tells which is there", None, hint)
        return [located(found, picture, None, self.threshold)]

    def named(self, picture: Picture, label: int, truth: Boxes) -> tuple[Located, Boxes, list[Located]]:
        """Protocol 2 for a picture of a known class: (the box of that class, `truth`, those of the five classes that
        the classifier names)."""
        found = self.predictions(picture)
        five = [located(found, picture, one, self.threshold) for one in best_classes(found, 5)]
        own = next((one for one in five if one.label == label), None)
        return own or located(found, picture, label, self.threshold), truth, five

    def of_class(self, picture: Picture, label: int, dense: bool = True) -> Located:
        """The box of a class that is known: protocol 1 by the first net at the first scale, or all places."""
        if dense:
            return located(self.predictions(picture), picture, label, self.threshold)
        net, _ = self.nets[0]
        return Located(label, central(net, picture, self.scales[0], label), 1.0)


def system(
    nets: Sequence[tuple[str, str]],
    ratings: Sequence[tuple[str, str]],
    scales: Sequence[int],
    threshold: float,
    mean: str = "",
    device: str = "cpu",
) -> System:
    """The localisers and the classifiers, as pairs of a net and its weights: no classifier, one for all, or one each.
    Without `scales` that of the first net's test data counts.

    Raises NetcError R760, R761, and as netc.runtime.evaluate.load.classifier_of.
    """
    loaded = [localiser(_load(*pair, mean, device)) for pair in nets]
    classifiers = [_load(*pair, mean, device) for pair in ratings]
    classifiers = classifiers * len(loaded) if len(classifiers) == 1 else classifiers
    for rating, own in zip(classifiers, loaded):
        check_rating(rating, own)
    rated: list[Classifier | None] = [*classifiers] or [None] * len(loaded)
    return System(
        list(zip(loaded, rated, strict=True)),
        scales or [_own_scale(locate(nets[0][0], "train_val.prototxt"), loaded[0].net)],
        threshold,
    )


def _load(name: str, weights: str, mean: str, device: str) -> Classifier:
    return classifier_of(locate(name, "train_val.prototxt"), weights, Wanted(mean=mean, device=device), warnings.warn)


def _own_scale(path: str, net: Classifier) -> int:
    """The shorter side that the net's test data are rescaled to, else the usual one for its input."""
    try:
        layers = read_net(path).layer
    except NetcError:  # a weight file of another kind, which brings its net
        return default_scale(net)
    tests = [layer for layer in layers if not layer.include or any(rule.phase == TEST for rule in layer.include)]
    found = [layer.transform_param.rescale_param.short_side for layer in tests]
    return int(max(found, default=0)) or default_scale(net)
