"""A record's boxes and the third top of a Data layer: the box moves as the pixels do."""

from __future__ import annotations

import numpy as np
import pytest

import netc
from netc import NetcError, proto
from netc.runtime.data import open_feed, probe
from netc.runtime.data.datum import from_datum
from tests.runtime.data.made import encoded, raw, write_lmdb

NET = """layer {{ name: "data" type: "Data" top: "data" top: "label" top: "box" include {{ phase: {phase} }}
  data_param {{ source: "{source}" batch_size: {batch} }} transform_param {{ {transform} }} }}"""


def painted(seed, form):
    """A record with a bright rectangle on a dark ground, and its edges."""
    rng = np.random.default_rng(seed)
    height, width = (int(size) for size in rng.integers(60, 140, 2))
    x1, y1 = rng.integers(5, width // 2), rng.integers(5, height // 2)
    x2, y2 = x1 + rng.integers(20, width // 2), y1 + rng.integers(20, height // 2)
    pixels = np.full((height, width, 3), 10, np.uint8)
    pixels[y1:y2, x1:x2] = 240
    datum = encoded(pixels, seed % 3, "PNG") if form == "encoded" else raw(pixels.transpose(2, 0, 1), seed % 3)
    other = [(seed % 3 + 1), 0, 0, width, height]  # of another class, and larger
    small = [seed % 3, 1, 1, 3, 4]
    datum.float_data.extend([*other, *small, seed % 3, x1, y1, x2, y2])
    return datum


def feed(tmp_path, transform, batch=12, phase="TRAIN", form="encoded"):
    source = write_lmdb(tmp_path / "db", {b"%04d" % k: painted(k, form) for k in range(batch)})
    text = NET.format(source=source, batch=batch, phase=phase, transform=transform)
    layer = netc.compile_net(text, phase, probe=probe).nodes[0].layer
    return open_feed(layer, layer.phase, seed=3)


def seen(image):
    """The rectangle's edges in a blob (3, H, W), where it is brighter than half: to a pixel."""
    rows, columns = (np.flatnonzero((image[0] > 125).any(axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


@pytest.mark.parametrize("form", ["encoded", "raw"])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(
    "transform",
    [
        "crop_size: 60 mirror: true",
        "rescale_param { min_short_side: 72 max_short_side: 110 } crop_size: 64 mirror: true",
        "rescale_param { short_side: 40 } crop_size: 40",
    ],
)
def test_the_box_is_where_the_object_is(tmp_path, transform, phase, form):
    """Edges that the crop does not cut lie where the pixels change, to a pixel and the filter's blur."""
    checked = 0
    with_boxes = feed(tmp_path, transform, phase=phase, form=form)
    for k in range(4):
        images, _, boxes = (tensor.numpy() for tensor in with_boxes.batch(k))
        size = images.shape[2]
        for image, (x, y, width, height) in zip(images, boxes * size, strict=True):
            edges = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
            if (edges[:2] > size - 3).any() or (edges[2:] < 3).any():  # out of the crop
                continue
            inside = (edges > 1.5) & (edges < size - 1.5)
            assert np.abs(edges - seen(image))[inside].max(initial=0) <= 1
            checked += inside.sum()
    with_boxes.close()
    assert checked > 40


def test_a_batch_without_a_crop_and_its_shapes(tmp_path):
    one = feed(tmp_path, "", batch=1)
    image, _, box = one.batch(0)
    assert one.shapes == [tuple(image.shape), (1,), (1, 4)]
    _, _, height, width = image.shape
    found = box[0].numpy() * [width, height, width, height]
    assert found == pytest.approx(painted(0, "encoded").float_data[11:] @ CENTRED, abs=1e-3)
    one.close()


CENTRED = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]])
"""x1 y1 x2 y2 → centre x, centre y, width, height."""


def test_two_tops_of_such_a_database_are_as_without_boxes(tmp_path):
    bare = {b"%04d" % k: painted(k, "raw") for k in range(5)}
    for datum in bare.values():
        datum.ClearField("float_data")
    sources = [
        write_lmdb(tmp_path / "bare", bare),
        write_lmdb(tmp_path / "boxes", {b"%04d" % k: painted(k, "raw") for k in range(5)}),
    ]
    found = []
    for source in sources:
        text = NET.format(source=source, batch=5, phase="TEST", transform="crop_size: 50").replace('top: "box"', "")
        found.append(first_batch(text))
    assert all((a == b).all() for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("values", [[1, 2, 3, 4], [0, 5, 5, 3, 9], [0, 1, 2, float("nan"), 9], []])
def test_numbers_that_are_no_boxes(values):
    datum = raw(np.zeros((3, 4, 5)))
    datum.float_data.extend(values)
    assert from_datum(b"a", datum.SerializeToString(), None).boxes is None


def test_features_stay_what_they_are():
    datum = proto.Datum(channels=5, height=1, width=1, float_data=[1, 2, 3, 4, 5])
    picture = from_datum(b"a", datum.SerializeToString(), None)
    assert (picture.boxes, picture.pixels.ravel().tolist()) == (None, [1, 2, 3, 4, 5])


def first_batch(text):
    layer = netc.compile_net(text, "TEST", probe=probe).nodes[0].layer
    opened = open_feed(layer, layer.phase, seed=0)
    try:
        return opened.batch(0)
    finally:
        opened.close()


@pytest.mark.parametrize(
    "change, transform, said",
    [
        (lambda datum: datum.ClearField("float_data"), "", "has no boxes"),
        (lambda datum: setattr(datum, "label", 9), "", "no box of its own class, 9"),
        (lambda datum: None, "ignore_orientation: true", "ignore_orientation"),
    ],
)
def test_records_without_the_box_that_is_wanted(tmp_path, change, transform, said):
    datum = painted(0, "raw")
    change(datum)
    source = write_lmdb(tmp_path / "db", {b"0": painted(1, "raw"), b"1": datum} if not transform else {b"0": datum})
    text = NET.format(source=source, batch=2, phase="TEST", transform=f"crop_size: 40 {transform}")
    with pytest.raises(NetcError, match=said) as caught:
        first_batch(text)
    assert caught.value.code == "D564"
