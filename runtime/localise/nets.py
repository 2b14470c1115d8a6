"""The nets of a localisation, as a command names them: what predicts boxes, and what rates them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netc.errors import NetcError, Place
from netc.files.shipped import locate
from netc.runtime.data.boxes import Boxes
from netc.runtime.data.datum import Picture
from netc.runtime.localise.images import Looks, looks_of
from netc.runtime.localise.merging import THRESHOLD
from netc.runtime.localise.predict import (
    Classifier,
    Localiser,
    Located,
    Predictions,
    best_classes,
    central,
    classifier,
    everywhere,
    localiser,
    located,
)
from netc.runtime.net.load import load_net
from netc.runtime.net.module import Net
from netc.weights.preprocessing import preprocessing_of


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

    Raises NetcError R760, R761, R762, R765 (no scale is known), and what loading raises.
    """
    loaded = [_load(*pair, mean, device) for pair in nets]
    localisers = [localiser(net, looks) for net, looks, _ in loaded]
    rating = [_load(*pair, mean, device) for pair in ratings]
    rating = rating * len(loaded) if len(rating) == 1 else rating
    classifiers: list[Classifier | None] = [None] * len(loaded)
    for number, (one, own) in enumerate(zip(rating, localisers)):
        classifiers[number] = classifier(one[0], one[1], own)
    short = loaded[0][2]
    if not scales and short is None:
        message = "the net does not say how large its pictures are tested"
        raise NetcError("R765", message, Place(nets[0][0]), "give --scales 256, the shorter side in pixels")
    return System(list(zip(localisers, classifiers)), scales or [short or 0], threshold)


def _load(name: str, weights: str, mean: str, device: str) -> tuple[Net, Looks, int | None]:
    """A net in the TEST phase, what its images are, and the shorter side that its test data are rescaled to."""
    net = load_net(locate(name, "train_val.prototxt"), "TEST", weights, device=device)
    net.feeding.close()
    found = preprocessing_of(_Layers(net), net.graph, net.graph.path, mean)
    if found.mean is None and _transform(net) is not None:
        found.mean = [0.0]
    short = _transform(net).rescale_param.short_side if _transform(net) is not None else 0
    return net, looks_of(found, name), int(short) or None


class _Layers:
    """A compiled net's layers, where those of a NetParameter are asked for."""

    def __init__(self, net: Net) -> None:
        self.layer: list[Any] = [node.layer.param for node in net.graph.nodes]


def _transform(net: Net) -> Any:
    found = [node.layer.param for node in net.graph.nodes if node.layer.param.HasField("transform_param")]
    return found[0].transform_param if found else None
