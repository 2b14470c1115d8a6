"""The most probable classes of single pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from netc.errors import NetcError
from netc.runtime.data.decoding import Pixels
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.images import pixels_of
from netc.runtime.evaluate.protocol import Protocol
from netc.runtime.net.cores import usable_cores

USUAL = range(192, 257)
"""Inputs of the nets for ImageNet that Caffe's models rescale pictures to 256 pixels for."""

AT_ONCE = 16


class Prediction(NamedTuple):
    label: int
    name: str | None
    probability: float


class Answer(NamedTuple):
    path: str
    predictions: list[Prediction]


def default_scale(classifier: Classifier) -> int:
    """The shorter side of a picture where the caller does not say it: as the net's rescale_param has it; else 256 for
    an input of 192 to 256 pixels, as for Caffe's models, else that of the input."""
    side = max(classifier.input.crop)
    if classifier.scale:
        return max(classifier.scale, side)
    return 256 if side in USUAL else side


def answers(
    classifier: Classifier, given: Protocol, paths: Sequence[str], top: int, names: Sequence[str]
) -> Iterator[Answer | NetcError]:
    """Of each picture, in order, its classes or why it cannot be read. Raises NetcError as `Classifier.check`."""
    looks = list(given.looks())
    classifier.check(looks)
    coming = iter(paths)
    with ThreadPoolExecutor(usable_cores(), "decode") as pool:
        while batch := list(islice(coming, AT_ONCE)):
            decoded = pool.map(lambda path: _decoded(classifier, path), batch)
            for path, pixels in zip(batch, decoded, strict=True):
                yield pixels if isinstance(pixels, NetcError) else _answer(classifier, given, path, pixels, top, names)


def _decoded(classifier: Classifier, path: str) -> Pixels | NetcError:
    try:
        return pixels_of(path, classifier.input.channels == 3, f'"{path}"')
    except NetcError as error:
        return error


def _answer(
    classifier: Classifier, given: Protocol, path: str, pixels: Pixels, top: int, names: Sequence[str]
) -> Answer | NetcError:
    try:
        found = dict(classifier.posteriors([pixels], list(given.looks())))
    except NetcError as error:
        if error.code != "D520":
            raise
        return NetcError("D520", f'"{path}": {error.message}', error.place, error.hint)
    probability = given.combined(found)[0]
    best = np.argsort(-probability, kind="stable")[:top].tolist()
    named = [Prediction(label, names[label] if names else None, float(probability[label])) for label in best]
    return Answer(path, named)
