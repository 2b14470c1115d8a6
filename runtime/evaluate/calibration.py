"""Batches for the ranges of int8: the middles of pictures, as the net takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.classify import default_scale
from netc.runtime.evaluate.images import resized
from netc.runtime.evaluate.protocol import CENTRE
from netc.runtime.evaluate.sources import Source

BATCHES, BATCH = 10, 8


def batches_of(
    classifier: Classifier, source: Source, say: Callable[[str], None]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Up to `BATCHES` of `BATCH` pictures (N, C, H, W), from all over the source. `say` hears of those that cannot be
    read."""
    places = {round(place) for place in np.linspace(0, len(source) - 1, BATCHES * BATCH)} if len(source) else set()
    middles: list[NDArray[np.float32]] = []
    for place in sorted(places):
        try:
            middles.append(_middle(classifier, source.record(place).pixels(classifier.input.channels == 3)))
        except NetcError as error:
            if error.code != "D520":
                raise
            say(f"{error.message}; the ranges of int8 do without it")
    for start in range(0, len(middles), BATCH):
        yield {classifier.image: np.concatenate(middles[start : start + BATCH])}


def _middle(classifier: Classifier, pixels: Any) -> NDArray[np.float32]:
    """(1, C, H, W)."""
    return classifier.crops(classifier.input.planes(resized(pixels, default_scale(classifier))), CENTRE)
