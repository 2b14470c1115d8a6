"""Batches of real Caffe (goldens/data), to the bit: raw and encoded records, crops, means, scales, lists, HDF5."""

import numpy as np
import pytest

import netc
from netc.runtime.data import decoding, open_feed, probe
from tests.runtime.data.made import GOLDENS

RECORDS = [
    "data_plain", "data_crop_even", "data_mean_file", "data_mean_file_crop_scale", "data_mean_value1", "data_gray",
    "data_no_label", "data_rand_skip", "data_transform_v2_in_data_param", "data_encode_png_mean",
    "data_encoded_force_gray", "data_leveldb", "image_data", "image_data_gray",
]  # fmt: skip
OTHERS = ["dummy_const", "dummy_legacy_4d", "dummy_one_shape_two_tops", "hdf5_data_f8_three_tops"]


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(GOLDENS)


def batches(name, phase="TEST", seed=0):
    """(expected, found) of each top of each batch of a case."""
    golden = np.load(f"{name}.npz")
    layer = netc.compile_net(f"{name}.prototxt", phase, probe=probe).nodes[0].layer
    feed = open_feed(layer, ("TRAIN", "TEST").index(phase), seed)
    for k in range(1 + max(int(key.split("@")[1]) for key in golden.files if "@" in key)):
        for top, tensor in zip(layer.param.top, feed.batch(k), strict=True):
            yield golden[f"{top}@{k}"], tensor.numpy()
    feed.close()


@pytest.mark.parametrize("pillow", [False, True], ids=["simplejpeg", "Pillow"])
@pytest.mark.parametrize("name", RECORDS)
def test_equal(name, pillow, monkeypatch):
    """OpenCV decoded Caffe's JPEGs; both decoders here give its pixels, luma for force_gray included."""
    if pillow:
        monkeypatch.setattr(decoding, "simplejpeg", None)
    elif decoding.simplejpeg is None:
        pytest.skip("simplejpeg is not installed")
    check_equal(name)


@pytest.mark.parametrize("name", OTHERS)
def test_equal_made_up_or_hdf5(name):
    if name.startswith("hdf5"):
        pytest.importorskip("h5py")
    check_equal(name)


def check_equal(name):
    pairs = list(batches(name))
    assert pairs
    for expected, found in pairs:
        assert expected.dtype == found.dtype
        assert np.array_equal(expected, found)


def test_train_crops_and_flips_are_regions_of_the_records():
    """Random, so compared by relation: every picture is some crop, flipped or not, of its record."""
    source = np.concatenate([expected for expected, _ in batches("data_plain") if expected.ndim == 4])
    layer = netc.compile_net("data_train_crop_mirror_stochastic.prototxt", "TRAIN", probe=probe).nodes[0].layer
    feed = open_feed(layer, 0, seed=3)
    mean = np.array([104, 117, 123], np.float32)[:, None, None]
    places = [
        place(source[(k * 3 + i) % 10], picture)
        for k in range(40)
        for i, picture in enumerate(feed.batch(k)[0].numpy() + mean)
    ]
    feed.close()
    assert {y for y, _, _ in places} == set(range(4))
    assert {x for _, x, _ in places} == set(range(6))
    assert 40 < sum(flip for _, _, flip in places) < 80  # of 120


def place(record, picture):
    for y in range(record.shape[1] - 8):
        for x in range(record.shape[2] - 8):
            for flip in (False, True):
                if np.array_equal(record[:, y : y + 9, x : x + 9][:, :, :: -1 if flip else 1], picture):
                    return y, x, flip
    raise AssertionError("no crop of the record is this picture")


def test_constant_dummy_data_starts_afresh_where_caffe_goes_on_from_what_a_layer_left_in_place(shared):
    """A departure (docs/numerics.md): Caffe fills the constant once, and a Power in place doubles it each pass."""
    case = shared / "goldens/data/dummy_const_inplace_not_refilled"
    golden = np.load(case.with_suffix(".npz"))
    assert [golden[f"a@{k}"].tolist() for k in range(4)] == [[6, 6], [12, 12], [24, 24], [48, 48]]
    net = netc.load_net(case.with_suffix(".prototxt"), "TRAIN")
    assert [net()["a"].tolist() for _ in range(4)] == [[6, 6]] * 4


def test_gaussian_dummy_data_is_new_in_each_batch():
    """Caffe's draws are boost's; ours have the same moments, and constants stay."""
    layer = netc.compile_net("dummy_gaussian_stochastic.prototxt", "TEST").nodes[0].layer
    feed = open_feed(layer, 1, seed=0)
    (first, constant), (second, again) = feed.batch(0), feed.batch(1)
    assert abs(first.mean() - 1) < 0.12  # 3 / √6000, three times
    assert abs(first.std() - 3) < 0.09
    assert not first.equal(second)
    assert constant.eq(4).all()
    assert again.equal(constant)
    assert feed.batch(0)[0].equal(first)
