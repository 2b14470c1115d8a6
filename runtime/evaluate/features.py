"""`netc.features`: descriptors of images by a net that was trained on others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.runtime.evaluate.describe import Describer, description
from netc.runtime.evaluate.posteriors import groups, listed
from netc.runtime.net.module import Net


def features(
    net: Net,
    images: Any,
    blob: str | None = None,
    scales: Any = (256,),
    combine: str = "average",
    flip: bool = True,
    normalise: bool = True,
    crop: Any = None,
    mean: Any = None,
) -> NDArray[np.float64]:
    """A descriptor of each image (Simonyan and Zisserman, appendix B), (images, D).

    The whole image goes through the convolutional form of the net; the map of the blob is averaged over its places,
    then over the image and its mirror image, then over the scales.

    Args:
        net: a net, loaded in the TEST phase.
        images: paths, Pillow images, or arrays (H, W, 3) of uint8, red, green, blue.
        blob: whose values are the features; default: what the last layer with weights reads, behind its ReLU (fc7 of
            VGG, pool5 of GoogLeNet).
        scales: shorter sides Q in pixels, to each of which an image is rescaled.
        combine: of several scales, "average" (D = channels of the blob), or "stack" (D = scales × channels).
        flip: the mirrored image counts as well.
        normalise: each descriptor is divided by its Euclidean length, at the end; one of zeros stays.
        crop, mean: as for `netc.posteriors`.
    Raises NetcError D520 (a picture that cannot be read), L308, L309 (a net without a convolutional form), R730 to
    R735, R741 to R743 (what is not known or not possible).
    """
    given = description(scales, combine, flip, normalise)
    describer = Describer(net, blob, mean=mean, crop=crop)
    looks = list(given.protocol.looks())
    describer.check(looks)
    all_images = listed(images)
    result = np.zeros((len(all_images), given.size(describer.classes)))
    for group in groups(all_images, describer, given.protocol):
        places, pixels = zip(*group, strict=True)
        result[list(places)] = given.of(dict(describer.posteriors(pixels, looks)))
    return result
