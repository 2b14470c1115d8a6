"""Databases and feeds for the tests of the data layers."""

from __future__ import annotations

import numpy as np
import pytest

from netc.runtime.data import open_feed
from tests.runtime.data.made import data_layer, encoded, photo, raw, write_lmdb


@pytest.fixture
def feed_of():
    """feed_of(source, transform, options, phase, seed, workers) → an open feed, closed at the end."""
    opened = []

    def make(source, transform="", options="batch_size: 4", phase="TRAIN", seed=7, workers=2, name="data"):
        layer = data_layer(source, transform, options, phase, name)
        opened.append(open_feed(layer, ("TRAIN", "TEST").index(phase), seed, workers))
        return opened[-1]

    yield make
    for feed in opened:
        feed.close()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """13 JPEGs of different sizes; the label is the record's number."""
    folder = tmp_path_factory.mktemp("photos")
    sizes = [(40 + 3 * i, 61 - 2 * i) for i in range(13)]
    return write_lmdb(
        folder / "db", {b"%08d" % i: encoded(photo(h, w, i), i, quality=90) for i, (h, w) in enumerate(sizes)}
    )


@pytest.fixture(scope="session")
def tiles(tmp_path_factory):
    """11 raw records of 3×9×7 random values; the label is the record's number."""
    folder = tmp_path_factory.mktemp("tiles")
    generator = np.random.default_rng(1)
    planes = [generator.integers(0, 256, (3, 9, 7)) for _ in range(11)]
    return write_lmdb(folder / "db", {b"%08d" % i: raw(p, i) for i, p in enumerate(planes)})
