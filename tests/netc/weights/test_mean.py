"""Means as people keep them: Caffe's blob, and numpy's array."""

from __future__ import annotations

import io

import numpy as np
import pytest

import netc
from netc import NetcError, proto
from netc.weights.mean import read_mean
from netc.weights.preprocessing import preprocessing_of

IMAGE = np.random.default_rng(0).uniform(0, 255, (3, 4, 5))


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["f8", "f4", ">f8", "f2", "u1", "i4"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 3, 4, 5)])
def test_arrays_of_numpy(tmp_path, kind, order, shape):
    array = np.array(IMAGE.reshape(shape).astype(kind), order=order)
    (tmp_path / "mean.npy").write_bytes(saved(array))
    found = read_mean(str(tmp_path / "mean.npy"))
    assert found.dtype == np.float32
    assert np.array_equal(found, array.reshape(3, 4, 5).astype("f4"))


def test_a_value_a_channel(tmp_path):
    """`numpy.load(…).mean(1).mean(1)`, as pycaffe's examples have it."""
    (tmp_path / "mean.npy").write_bytes(saved(IMAGE.mean(1).mean(1)))
    assert np.array_equal(read_mean(str(tmp_path / "mean.npy")), IMAGE.mean(1).mean(1).astype("f4"))


def test_a_blob_of_caffe(tmp_path):
    blob = proto.BlobProto(num=1, channels=3, height=4, width=5, data=IMAGE.ravel().tolist())
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    assert np.array_equal(read_mean(str(tmp_path / "mean.binaryproto")), IMAGE.astype("f4"))


WRONG = {
    "two images": saved(np.zeros((2, 3, 4, 5))),
    "one number": saved(np.float32(3)),
    "an axis too few": saved(np.zeros((4, 5))),
    "nothing": saved(np.zeros((3, 0, 5))),
    "not finite": saved(np.array([1, np.nan, 3])),
    "objects": saved(np.array([{}, 1], object), allow_pickle=True),
    "text": saved(np.array(["a", "b"])),
    "cut": saved(IMAGE)[:-3],
    "longer": saved(IMAGE) + b"x",
    "giant": saved(IMAGE).replace(b"(3, 4, 5)", b"(3,4,99)"),
    "no header": b"\x93NUMPY\x01\x00\xff\xff{" + b"(" * 300,
    "no version": b"\x93NUMPY",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_a_mean(tmp_path, name):
    (tmp_path / "mean.npy").write_bytes(WRONG[name])
    with pytest.raises(NetcError, match=r"mean\.npy") as caught:
        read_mean(str(tmp_path / "mean.npy"))
    assert caught.value.code == "D507"


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(NetcError) as caught:
        read_mean(str(tmp_path / "mean.npy"))
    assert caught.value.code == "F110"


@pytest.mark.parametrize("array", [IMAGE, IMAGE.mean((1, 2))], ids=["image", "values"])
def test_as_the_mean_of_a_conversion(tmp_path, array):
    (tmp_path / "mean.npy").write_bytes(saved(array))
    found = preprocessing_of(None, None, mean=str(tmp_path / "mean.npy"))
    assert found.mean == pytest.approx(IMAGE.mean((1, 2)), rel=1e-6)


@pytest.mark.parametrize("array", [IMAGE, IMAGE.mean((1, 2))], ids=["image", "values"])
def test_as_the_mean_of_a_layer(tmp_path, monkeypatch, array):
    """A pixel minus its mean; one value a channel goes with any size of pictures."""
    from netc.runtime.data import open_feed, probe
    from tests.runtime.data.made import raw, write_lmdb

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mean.npy").write_bytes(saved(array))
    planes = np.arange(60).reshape(3, 4, 5)
    write_lmdb("db", {b"0": raw(planes)})
    text = """layer { type: "Data" top: "x" data_param { source: "db" batch_size: 1 }
      transform_param { mean_file: "mean.npy" } }"""
    feed = open_feed(netc.compile_net(text, "TRAIN", probe=probe).nodes[0].layer, 0, 1)
    wanted = planes - (array if array.ndim == 3 else array[:, None, None])
    np.testing.assert_allclose(feed.batch(0)[0][0].numpy(), wanted, atol=1e-4)
    feed.close()
