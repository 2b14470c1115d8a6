"""Bytes that go to a device, and become there what the CPU would have made of them: to the bit."""

import numpy as np
import pytest
import torch

from netc import proto
from netc.runtime.data import open_feed
from netc.runtime.data.byte_batch import ByteBatch
from tests.runtime.data.made import data_layer, encoded, photo, raw, write_lmdb
from tests.runtime.data.test_feed import RECIPE

COLOURS = "mean_value: 104.007 mean_value: 116.669 mean_value: 122.679"
TRANSFORMS = {
    "nothing": "",
    "crop and flip": "crop_size: 17 mirror: true",
    "mean": f"crop_size: 17 mirror: true {COLOURS}",
    "one mean and a scale": "mean_value: 127.5 scale: 0.0078431373",
    "scale": "scale: 0.00390625",
    "mean and a scale": f"{COLOURS} scale: 0.017 mirror: true",
    "the paper's": RECIPE,
}


def batches(source, transform, device, **options):
    feed = open_feed(data_layer(source, transform, **options), 0, seed=5)
    feed.device = device
    try:
        return [feed.batch(k) for k in range(4)]
    finally:
        feed.close()


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_the_bits_are_those_of_the_cpu(transform, tmp_path):
    """ "meta" stands for a device whose memory is not the CPU's; torch's arithmetic there is IEEE's on each of them."""
    records = {b"%03d" % n: encoded(photo(26, 31, n), n % 3, "PNG") for n in range(10)}
    source = write_lmdb(tmp_path / "db", records)
    expected, found = (batches(source, transform, device) for device in ("cpu", "meta"))
    for (pictures, labels), (pixels, same_labels) in zip(expected, found, strict=True):
        assert isinstance(pixels, ByteBatch)
        assert pixels.bytes.dtype == torch.uint8
        assert torch.equal(pixels.to("cpu"), pictures)
        assert torch.equal(labels, same_labels)
        assert pixels.to("meta").shape == pictures.shape


def test_records_of_floats_among_bytes(tmp_path):
    """Datums with float_data are of no bytes: they are finished on the CPU."""
    generator = np.random.default_rng(0)
    records = {b"%03d" % n: raw(generator.integers(0, 256, (3, 6, 7)), n) for n in range(6)}
    values = generator.normal(0, 50, 3 * 6 * 7)
    records[b"002"] = proto.Datum(channels=3, height=6, width=7, float_data=values, label=2)
    source = write_lmdb(tmp_path / "db", records)
    expected, found = (batches(source, f"{COLOURS} scale: 0.3", device) for device in ("cpu", "meta"))
    for (pictures, _), (pixels, _) in zip(expected, found, strict=True):
        assert torch.equal(pixels.to("cpu"), pictures)


def test_a_mean_image_is_subtracted_on_the_cpu(tmp_path):
    mean = proto.BlobProto(num=1, channels=3, height=6, width=7, data=np.linspace(90, 130, 3 * 6 * 7))
    (tmp_path / "mean.binaryproto").write_bytes(mean.SerializeToString())
    source = write_lmdb(tmp_path / "db", {b"0": raw(np.arange(126).reshape(3, 6, 7))})
    ((pictures, _), *_) = batches(source, f'mean_file: "{tmp_path}/mean.binaryproto" crop_size: 5', "meta")
    assert pictures.dtype == torch.float32
