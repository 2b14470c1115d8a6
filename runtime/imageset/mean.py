"""The mean image of a database, its channel means, and the principal components of its colours, in one pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.runtime.data.database import open_database
from netc.runtime.data.datum import from_datum
from netc.runtime.data.decoding import Undecodable
from netc.runtime.imageset.sources import missing
from netc.runtime.net.cores import usable_cores
from netc.weights.blob import old_blob_chunks

Array = NDArray[np.float64]
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of all pixels of all images, each pixel counting the same.

    `channel_mean` (C), in the database's order of channels: blue, green, red. `mean` (C, H, W) float32, or None where
    the images differ in size. `eigenvalue` (3), largest first, and `eigenvector` (3, 3), a row each, of the channels'
    covariance; None where there are no three channels. A vector's largest component is positive.
    """

    images: int
    channel_mean: Array
    mean: NDArray[np.float32] | None
    sizes: tuple[tuple[int, ...], ...]
    eigenvalue: Array | None = None
    eigenvector: Array | None = None


@dataclass(slots=True)
class _Sums:
    """Sums over the images seen so far that have one number of channels."""

    count: int = 0
    total: Array = field(default_factory=lambda: np.zeros(0))
    products: Array = field(default_factory=lambda: np.zeros((0, 0)))
    pixels: int = 0
    image: Array | None = None
    sizes: dict[tuple[int, ...], None] = field(default_factory=dict)

    def add(self, planes: NDArray[Any]) -> None:
        flat = planes.reshape(len(planes), -1).astype(np.float64)
        self.add_sums(1, flat.sum(axis=1), flat @ flat.T, flat.shape[1])
        if not self.sizes:
            self.image = np.zeros(planes.shape)
        self.sizes[planes.shape] = None
        if len(self.sizes) == 1 and self.image is not None:
            self.image += planes
        else:
            self.image = None

    def add_sums(self, count: int, total: Array, products: Array, pixels: int) -> None:
        self.count, self.pixels = self.count + count, self.pixels + pixels
        self.total = self.total + total if self.total.size else total
        self.products = self.products + products if self.products.size else products

    def as_color(self) -> _Sums:
        """The sums of the same images with their one channel three times."""
        total, products = np.repeat(self.total, 3), np.full((3, 3), self.products.item())
        image = None if self.image is None else self.image.repeat(3, axis=0)
        return _Sums(self.count, total, products, self.pixels, image, {(3, *s[1:]): None for s in self.sizes})


def statistics(
    path: Path,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    upright: bool = True,
) -> Statistics:
    """Read the database `path` once. Gray images among colour ones count as three equal channels, an alpha channel not.
    `upright`: pictures are turned as their EXIF blocks say.

    Sums are taken in float64, exact for 8-bit pixels, so that the result does not depend on `workers`. Raises F140 if
    there is no database, what opening it raises (D510-D513), D546 naming the key of a record that is not an image, D547
    if the numbers of channels do not go together.
    """
    if not path.exists():
        raise missing(path, "database")
    groups: dict[int, _Sums] = {}
    with open_database(str(path)) as database, ThreadPoolExecutor(workers or usable_cores()) as pool:
        for start in range(0, len(database), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(database)))
            for planes in pool.map(lambda index: _planes(path, *database.record(index), upright), chunk):
                groups.setdefault(len(planes), _Sums()).add(planes)
            if progress:
                progress(chunk.stop, len(database))
    return _result(_merged(path, groups))


def _planes(path: Path, key: bytes, value: bytes, upright: bool) -> NDArray[Any]:
    """A record's channels: uint8 (or float32 for float_data), shape (C, H, W); blue, green, red if there are three."""
    try:
        picture = from_datum(key, value, None, upright)
    except Undecodable as error:
        message = f'the record "{os.fsdecode(key)}" is not an image that can be read: {error}'
        raise NetcError("D546", message, Place(str(path))) from None
    return picture.planes if picture.planar else picture.planes[:3]


def _merged(path: Path, groups: dict[int, _Sums]) -> _Sums:
    if len(groups) == 1:
        return next(iter(groups.values()))
    if set(groups) != {1, 3}:
        found = " and ".join(map(str, sorted(groups)))
        raise NetcError("D547", f"there are images of {found} channels, which have no common mean", Place(str(path)))
    color, gray = groups[3], groups[1].as_color()
    color.add_sums(gray.count, gray.total, gray.products, gray.pixels)
    color.sizes |= gray.sizes
    whole = len(color.sizes) == 1 and color.image is not None and gray.image is not None
    color.image = color.image + gray.image if whole else None  # type: ignore[operator]
    return color


def _result(sums: _Sums) -> Statistics:
    mean = sums.total / sums.pixels
    image = None if sums.image is None else (sums.image / sums.count).astype(np.float32)
    sizes = tuple(sums.sizes)
    if len(mean) != 3:
        return Statistics(sums.count, mean, image, sizes)
    return Statistics(sums.count, mean, image, sizes, *_components(sums.products / sums.pixels - np.outer(mean, mean)))


def _components(covariance: Array) -> tuple[Array, Array]:
    values, columns = np.linalg.eigh(covariance)
    vectors = columns.T[::-1]
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    return values[::-1].clip(0), vectors * signs[:, None]


def as_binaryproto(mean: NDArray[np.float32]) -> bytes:
    """A mean image (C, H, W) as the BlobProto that compute_image_mean writes: old-style axes 1, C, H, W."""
    return b"".join(old_blob_chunks(mean))


def as_dict(found: Statistics) -> dict[str, Any]:
    """What `color_shift_param.file` reads: `eigenvector` is the three vectors one after the other."""
    components: dict[str, Any] = {}
    if found.eigenvalue is not None and found.eigenvector is not None:
        components = {"eigenvalue": found.eigenvalue.tolist(), "eigenvector": found.eigenvector.ravel().tolist()}
    return {
        "channel_mean": found.channel_mean.tolist(),
        **components,
        "order": "BGR" if len(found.channel_mean) == 3 else "as stored",
        "images": found.images,
    }
