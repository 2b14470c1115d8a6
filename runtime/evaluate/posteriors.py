"""`netc.posteriors`: the classes' probabilities of images, by the paper's protocols."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netc.errors import NetcError
from netc.runtime.data.decoding import Pixels
from netc.runtime.evaluate.classifier import Classifier, Posteriors, image_named
from netc.runtime.evaluate.images import IMAGE, pixels_of
from netc.runtime.evaluate.protocol import DENSE, Look, Protocol, protocol
from netc.runtime.net.module import Net

BATCH = 16
"""Images that are looked at together, of one ratio."""


def posteriors(
    net: Net,
    images: Any,
    scales: Any = (256,),
    view: str = "dense",
    flip: bool = True,
    order: str = "scores",
    crop: Any = None,
    mean: Any = None,
    *,
    blob: str | None = None,
) -> NDArray[np.float64]:
    """The posterior of each class for each image (Simonyan and Zisserman, Sect. 3.2), (images, classes).

    Args:
        net: a classifier, loaded in the TEST phase.
        images: paths, Pillow images, or arrays (H, W, 3) of uint8, red, green, blue.
        scales: shorter sides Q in pixels, to each of which an image is rescaled.
        view: "dense", the whole image by the convolutional form of the net; "crops", 5 × 5 crops from corner to
            corner; "centre", the middle crop; "both", the mean of dense and crops.
        flip: the mirrored image, or each mirrored crop, counts as well.
        order: over the places of a dense map, "scores" are averaged and their mean gets the soft-max, or "posteriors"
            are averaged (T11).
        crop: the classifier's input in pixels, one side or (height, width); default: the net's.
        mean: of the pixels, blue, green, red, or one value, or a mean image or its file, whose channel means count;
            default: what the card of the weights or the net says.
        blob: the scores, where the net has several outputs.
    Raises NetcError D520 (a picture that cannot be read), L308, L309 (a net without a convolutional form), R730 to
    R735, R743 (what is not known or not possible).
    """
    given = protocol(scales, view, flip, order)
    classifier = Classifier(net, blob, mean=mean, crop=crop)
    classifier.check(list(given.looks()))
    all_images = listed(images)
    result = np.zeros((len(all_images), classifier.classes))
    for group in groups(all_images, classifier, given):
        places, pixels = zip(*group, strict=True)
        result[list(places)] = _of_group(classifier, given, pixels)
    return result


def listed(images: Any) -> list[Any]:
    """One image, or several in any kind of row. Raises NetcError R734 for anything else."""
    if isinstance(images, str | os.PathLike | Image.Image) or getattr(images, "ndim", 0) in (2, 3):
        return [images]
    if isinstance(images, bytes) or not isinstance(images, Iterable):
        raise NetcError("R734", f"images are of the type {type(images).__name__}", None, IMAGE)
    return list(images)


def _of_group(classifier: Classifier, given: Protocol, pixels: Sequence[Pixels]) -> NDArray[np.float64]:
    found: dict[Look, Posteriors] = dict(classifier.posteriors(pixels, list(given.looks())))
    return given.combined(found)


def groups(images: Sequence[Any], classifier: Classifier, given: Protocol) -> Iterable[list[tuple[int, Pixels]]]:
    """Images of one ratio together, with their places, in the order in which groups are full."""
    color = classifier.input.channels == 3
    waiting: dict[tuple[int, int], list[tuple[int, Pixels]]] = {}
    for place, image in enumerate(images):
        name = f'"{os.fspath(image)}"' if isinstance(image, str | os.PathLike) else f"number {place} of the images"
        with image_named(name):
            pixels = pixels_of(image, color, name)
        key = ratio(*pixels.shape[:2]) if DENSE in given.parts else (0, 0)
        waiting.setdefault(key, []).append((place, pixels))
        if len(waiting[key]) == BATCH or sum(map(len, waiting.values())) > 4 * BATCH:
            yield waiting.pop(key)
    yield from waiting.values()


def ratio(height: int, width: int) -> tuple[int, int]:
    """Height to width in lowest terms: images of one ratio have one size at every scale."""
    common = gcd(height, width)
    return height // common, width // common
