"""Batches of real Caffe (goldens/data): raw and encoded records, crops, means, scales."""

import os

import numpy as np
import pytest

import netc
from netc.runtime.data import open_feed, probe

EXACT = [
    "data_plain", "data_crop_even", "data_mean_file", "data_mean_file_crop_scale", "data_mean_value1", "data_gray",
    "data_no_label", "data_rand_skip", "data_transform_v2_in_data_param", "data_encode_png_mean",
    "dummy_const", "dummy_legacy_4d", "dummy_one_shape_two_tops", "hdf5_data_f8_three_tops",
]  # fmt: skip


@pytest.fixture
def folder(shared, monkeypatch):
    path = shared / "goldens/data"
    monkeypatch.chdir(path)
    return path


def batches(folder, name):
    """(expected, found) of each top of each batch of a case; the cases run in Caffe's TEST phase unless stochastic."""
    graph = netc.compile_net(str(folder / f"{name}.prototxt"), "TEST", probe=probe)
    golden = np.load(folder / f"{name}.npz")
    layer = graph.nodes[0].layer
    feed = open_feed(layer, 1, seed=0)
    try:
        count = 1 + max(int(key.split("@")[1]) for key in golden.files if "@" in key)
        for k in range(count):
            for top, tensor in zip(layer.param.top, feed.batch(k), strict=True):
                yield golden[f"{top}@{k}"], tensor.numpy()
    finally:
        feed.close()


@pytest.mark.parametrize("name", EXACT)
def test_equal(folder, name):
    if name.startswith("hdf5"):
        pytest.importorskip("h5py")
    for expected, found in batches(folder, name):
        assert expected.shape == found.shape
        assert np.array_equal(expected, found)


@pytest.mark.parametrize("name", ["data_encoded_force_gray", "image_data", "image_data_gray"])
def test_jpegs_within_a_decoders_rounding(folder, name):
    """OpenCV's and Pillow's libjpeg differ by a few grey levels in some pixels; labels are equal."""
    for expected, found in batches(folder, name):
        assert expected.shape == found.shape
        assert np.abs(expected - found).max() <= (0 if expected.ndim == 1 else 6)


def test_train_crops_and_flips_are_regions_of_the_records(folder):
    """Random, so compared by relation: every batch picture is some crop, flipped or not, of its record."""
    source = np.concatenate([expected for expected, _ in batches(folder, "data_plain") if expected.ndim == 4])
    graph = netc.compile_net(str(folder / "data_train_crop_mirror_stochastic.prototxt"), "TRAIN", probe=probe)
    feed = open_feed(graph.nodes[0].layer, 0, seed=3)
    mean = np.array([104, 117, 123], np.float32)[:, None, None]
    places = set()
    for k in range(4):
        data, _ = feed.batch(k)
        for i, picture in enumerate(data.numpy() + mean):
            record = source[(k * 3 + i) % 10]
            hits = [
                (y, x, f)
                for y in range(4)
                for x in range(6)
                for f in (0, 1)
                if np.array_equal(record[:, y : y + 9, x : x + 9][:, :, :: -1 if f else 1], picture)
            ]
            assert hits
            places.add(hits[0])
    feed.close()
    assert len(places) > 6
    assert os.path.exists("db_resized")
