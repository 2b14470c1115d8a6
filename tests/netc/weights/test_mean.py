"""Means as people keep them: Caffe's blob, and numpy's array."""

from __future__ import annotations

import io

import numpy as np
import pytest

from netc import NetcError, proto
from netc.weights.mean import read_mean

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
