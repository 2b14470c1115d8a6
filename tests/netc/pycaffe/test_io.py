"""caffe.io: against pycaffe's own results, and by what it documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import netc.pycaffe as caffe
from netc.errors import NetcError
from netc.pycaffe.proto import caffe_pb2

io = caffe.io


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "goldens/data/pyio.npz"))


# -- messages ----------------------------------------------------------------------------------------------------------


def test_a_blobproto_of_the_old_format() -> None:
    blob = caffe_pb2.BlobProto(data=[0.0] * 100, num=1, channels=1, height=10, width=10)
    assert io.blobproto_to_array(blob).shape == (1, 1, 10, 10)


def test_a_blobproto_of_the_new_format() -> None:
    blob = caffe_pb2.BlobProto(data=range(100))
    blob.shape.dim.extend([10, 10])
    assert io.blobproto_to_array(blob).tolist() == np.arange(100).reshape(10, 10).tolist()


def test_a_blobproto_without_a_shape_is_a_scalar_or_an_error() -> None:
    with pytest.raises(ValueError):
        io.blobproto_to_array(caffe_pb2.BlobProto(data=[0.0] * 100))
    assert io.blobproto_to_array(caffe_pb2.BlobProto(data=[123.0])) == 123


def test_arrays_as_blobprotos_and_back(shared: Path) -> None:
    array, diff = np.arange(24.0).reshape(2, 3, 4), np.ones((2, 3, 4))
    blob = io.array_to_blobproto(array, diff)
    assert (io.blobproto_to_array(blob) == array).all()
    assert (io.blobproto_to_array(blob, return_diff=True) == diff).all()
    text = io.arraylist_to_blobprotovector_str([array, diff[0]])
    first, second = io.blobprotovector_str_to_arraylist(text)
    assert (first == array).all()
    assert second.shape == (3, 4)


def test_messages_are_those_of_pycaffe(shared: Path) -> None:
    """What pycaffe wrote comes back byte by byte."""
    for name in ("array_to_datum.bin", "array_to_datum_float.bin"):
        written = (shared / "goldens/data" / name).read_bytes()
        datum = caffe_pb2.Datum.FromString(written)
        again = io.array_to_datum(io.datum_to_array(datum), datum.label)
        assert again.SerializeToString() == written
    written = (shared / "goldens/data/array_to_blobproto.binaryproto").read_bytes()
    assert io.array_to_blobproto(io.blobproto_to_array(caffe_pb2.BlobProto.FromString(written))) == (
        caffe_pb2.BlobProto.FromString(written)
    )


def test_a_datum_without_a_label_is_smaller() -> None:
    sizes = [len(io.array_to_datum(np.ones((10, 10, 3)), label=x).SerializeToString()) for x in (1, None)]
    assert sizes[0] > sizes[1]
    with pytest.raises(ValueError, match="Incorrect array shape"):
        io.array_to_datum(np.ones((10, 10)))


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_resizing_and_crops_are_those_of_pycaffe(recorded: dict[str, np.ndarray]) -> None:
    """scikit-image computes in float32 after scaling to [0, 1]: 1e-6."""
    assert abs(io.resize_image(recorded["im0"], (7, 8)) - recorded["resize_7x8"]).max() < 1e-6
    crops = io.oversample([recorded["im0"], recorded["im1"]], (5, 6))
    assert (crops == recorded["oversample_5x6"]).all()


def test_the_transformer_is_that_of_pycaffe(recorded: dict[str, np.ndarray]) -> None:
    transformer = io.Transformer({"data": (1, 3, 7, 8)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([104.0, 117.0, 123.0]))
    transformer.set_input_scale("data", 0.5)
    found = transformer.preprocess("data", recorded["im0"])
    assert found.dtype == np.float32
    assert abs(found - recorded["preprocess_3x7x8"]).max() < 1e-4  # 255 times 4e-7
    assert abs(transformer.deprocess("data", found) - recorded["deprocess"]).max() < 1e-6


def test_linear_interpolation_by_hand() -> None:
    """Twice the width: the new middles lie at -0.25, 0.25, 0.75 and 1.25; outside counts as the smallest value."""
    row = np.array([[[2.0], [6.0]]], np.float32)
    assert io.resize_image(row, (1, 4)).ravel().tolist() == [2.0, 3.0, 5.0, 5.0]
    assert io.resize_image(row, (1, 4), interp_order=0).ravel().tolist() == [2.0, 2.0, 6.0, 6.0]
    assert io.resize_image(np.full((2, 2, 3), 7.0), (4, 5)).tolist() == np.full((4, 5, 3), 7.0).tolist()
    ramp = np.arange(3.0)[np.newaxis, :, np.newaxis].repeat(2, axis=2)  # two channels: corner on corner
    assert io.resize_image(ramp, (1, 5))[0, :, 0].tolist() == [0, 0.5, 1, 1.5, 2]
    with pytest.raises(ValueError, match="interp_order 3"):
        io.resize_image(row, (1, 4), interp_order=3)


def test_pictures_are_loaded_as_from_0_to_1(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0], [0, 102, 255]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([pixels, np.full((1, 2), 9, np.uint8)])).save(tmp_path / "rgba.png")
    Image.fromarray(pixels[:, :, 1]).save(tmp_path / "grey.png")
    colours = io.load_image(tmp_path / "rgb.png")
    assert colours.dtype == np.float32
    assert (colours == (pixels / 255).astype(np.float32)).all()
    assert (io.load_image(tmp_path / "rgba.png") == colours).all()
    grey = io.load_image(tmp_path / "rgb.png", color=False)
    assert grey.shape == (1, 2, 1)
    assert grey.ravel() == pytest.approx([0.2125, 0.7154 * 0.4 + 0.0721])
    assert io.load_image(tmp_path / "grey.png").tolist() == [[[0, 0, 0], [np.float32(0.4)] * 3]]
    assert io.load_image(tmp_path / "grey.png", color=False).shape == (1, 2, 1)
    with pytest.raises(OSError):
        io.load_image(tmp_path / "none.png")
    with pytest.raises(NetcError):
        io.load_image(tmp_path)


def test_means_fit_the_input() -> None:
    transformer = io.Transformer({"data": (1, 3, 4, 4)})
    transformer.set_mean("data", np.arange(48.0).reshape(3, 4, 4))
    assert transformer.mean["data"].shape == (3, 4, 4)
    ramp = np.tile(np.arange(8.0), (3, 8, 1))
    transformer.set_mean("data", ramp)  # made smaller
    assert transformer.mean["data"][0, 0] == pytest.approx([0.5, 2.5, 4.5, 6.5])
    for mean in (np.zeros(2), np.zeros((2, 4, 4)), np.zeros((1, 3, 4, 4))):
        with pytest.raises(ValueError, match="Mean"):
            transformer.set_mean("data", mean)


def test_settings_that_do_not_fit_are_refused() -> None:
    transformer = io.Transformer({"data": (1, 3, 4, 4)})
    with pytest.raises(Exception, match="is not one of the net inputs"):
        transformer.set_raw_scale("dada", 255)
    with pytest.raises(Exception, match="Transpose order"):
        transformer.set_transpose("data", (0, 1))
    with pytest.raises(Exception, match="Channel swap"):
        transformer.set_channel_swap("data", (0, 1))
