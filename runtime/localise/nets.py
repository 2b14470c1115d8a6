"""The nets of a localisation, as a command names them: what predicts boxes, and what rates them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from netc.errors import NetcError, printable
from netc.files.shipped import locate
from netc.graph.compile import compile_net
from netc.graph.filter import phase_number
from netc.graph.ir import Graph
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

    @property
    def classes(self) -> int | None:
        """How many there are; None where there is one box for all of them, and nothing rates it."""
        counts = [net.classes for net, _ in self.nets if net.per_class]
        counts += [rating.classes for _, rating in self.nets if rating is not None]
        return min(counts, default=None)

    def check_label(self, label: int, picture: str) -> None:
        """Raises NetcError R782 for a class that these nets do not know."""
        if self.classes is not None and not 0 <= label < self.classes:
            message = (
                f"{printable(picture)} is to be of class {label}, and the nets know {self.classes}, counted from 0"
            )
            raise NetcError("R782", message, None, "take nets that were trained on these classes")

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
        the classifier names). Raises NetcError R782."""
        self.check_label(label, picture.name)
        found = self.predictions(picture)
        five = [located(found, picture, one, self.threshold) for one in best_classes(found, 5)]
        own = next((one for one in five if one.label == label), None)
        return own or located(found, picture, label, self.threshold), truth, five

    def of_class(self, picture: Picture, label: int, dense: bool = True) -> Located:
        """The box of a class that is known: protocol 1 by the first net at the first scale, or all places. Raises
        NetcError R782."""
        self.check_label(label, picture.name)
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
    loaded = [localiser(_load(*pair, mean, device), _whole(pair[0])) for pair in nets]
    classifiers = [_load(*pair, mean, device) for pair in ratings]
    classifiers = classifiers * len(loaded) if len(classifiers) == 1 else classifiers
    for rating, own in zip(classifiers, loaded):
        check_rating(rating, own)
    _check_classes([*classifiers, *(net for net in loaded if net.per_class)])
    rated: list[Classifier | None] = [*classifiers] or [None] * len(loaded)
    return System(
        list(zip(loaded, rated, strict=True)),
        scales or [_own_scale(locate(nets[0][0], "train_val.prototxt"), loaded[0].net)],
        threshold,
    )


def _check_classes(given: Sequence[Classifier | Localiser]) -> None:
    """Raises NetcError R761 where nets that are used together know another number of classes."""
    counts = sorted({one.classes for one in given})
    if len(counts) > 1:
        message = f"the nets do not know the same classes: {' and '.join(map(str, counts))} of them"
        raise NetcError("R761", message, None, "nets and classifiers that are used together know the same classes")


def _load(name: str, weights: str, mean: str, device: str) -> Classifier:
    return classifier_of(locate(name, "train_val.prototxt"), weights, Wanted(mean=mean, device=device), warnings.warn)


def _whole(name: str) -> Graph | None:
    """The net with its losses; None for a weight file of another kind, which brings its net."""
    try:
        return compile_net(locate(name, "train_val.prototxt"), phase="TEST")
    except NetcError:
        return None


def _own_scale(path: str, net: Classifier) -> int:
    """The shorter side that the net's test data are rescaled to, else the usual one for its input."""
    try:
        layers = read_net(path).layer
    except NetcError:  # a weight file of another kind, which brings its net
        return default_scale(net)
    tests = [layer for layer in layers if not layer.include or any(rule.phase == TEST for rule in layer.include)]
    found = [layer.transform_param.rescale_param.short_side for layer in tests]
    return int(max(found, default=0)) or default_scale(net)
