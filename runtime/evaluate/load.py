"""A classifier from its files: a weight file that brings its net, or a net and its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netc.errors import NetcError, Place
from netc.files.lines import numbered, read_text
from netc.layers.base import Shape
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.images import says_no_mean_of
from netc.runtime.net.load import TORCH, engine_net, exact_computing
from netc.weights.asked import Asked
from netc.weights.model import Model, open_model
from netc.weights.preprocessing import looks_of, transform_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller says of a net where its files do not, or overrules them: mean, scale, crop and channels of its
    input, the blob with its scores, the size of its images, the device, what runs it (docs/engines.md) and in which
    precision."""

    mean: str = ""
    scale: float | None = None
    crop: int | None = None
    channels: str = ""
    blob: str | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    device: str = "cpu"
    engine: str = TORCH
    precision: str = "fp32"


def classifier_of(
    net: str | None,
    weights: str,
    wanted: Wanted,
    say: Callable[[str], None],
    kind: type[Classifier] = Classifier,
) -> Classifier:
    """The classifier of a weight file and, unless the file brings it, a net (a path). `say`: what remarks go to.
    `kind`: what is made of them.

    Raises NetcError as `open_model`, `engine_net` and `Classifier`; W763 where no net is known.
    """
    make = engine_net(wanted.engine, wanted.precision, wanted.device, say=say)
    model = open_model(weights, net, asked=Asked(shapes=wanted.shapes))
    graph = model.runnable()
    shown, differing = looks_of(model, net, wanted.mean, wanted.scale, wanted.crop)
    for remark in [*differing, *model.remarks]:
        say(remark)
    if wanted.channels:
        shown = replace(shown, channels=wanted.channels)
    if shown.mean is None and _all_said(model):
        shown = replace(shown, mean=[0.0])
    layers = model.layers()
    computing = exact_computing(wanted.engine, wanted.precision)
    made = make(graph, start=lambda made: made.copy_from(layers).written(made.params), computing=computing)
    classifier = kind(made.to(wanted.device), wanted.blob, shown, crop=wanted.crop)
    if kind.kind == Classifier.kind and model.card is not None and len(model.card.classes) == classifier.classes:
        classifier.names = model.card.classes
    classifier.scale = next(filter(None, map(_scale, (model.param, model.own and model.own.param))), None)
    return classifier


def _scale(param: Any) -> int | None:
    """The shorter side by a net's rescale_param, of a range the middle, as in tests."""
    transform = transform_of(param)
    given = transform.rescale_param if transform is not None else None
    return (given.short_side or (given.min_short_side + given.max_short_side) // 2) if given is not None else None


def _all_said(model: Model) -> bool:
    """Whether a net says how its images are read, so that no mean means none: a data layer of its own does."""
    drafts = [draft for draft in (model.draft, model.own) if draft is not None]
    return any(says_no_mean_of(draft.param) for draft in drafts)


def read_names(path: str) -> list[str]:
    """The names of classes, a line each; names may repeat, as "crane" does in ImageNet. Raises NetcError X120, D531."""
    return [line for _, line in numbered(read_text(path, "list of classes"))]


def classes_in(classifier: Classifier, names: list[str], path: str) -> list[str]:
    """Names of the classes, one each. Raises NetcError R738 for a list of another length."""
    if len(names) != classifier.classes:
        found = f"{path} names {len(names)} classes, and the net has {classifier.classes}"
        raise NetcError("R738", found, Place(path), "a line for each class, in the order of the net's scores")
    return names
