"""Rescaling, crops, flips, colour shift and means, each against its definition."""

import json

import numpy as np
import pytest
from PIL import Image

from netc import proto
from netc.errors import NetcError
from netc.runtime.data.datum import Picture
from netc.runtime.data.rescale import Crop, rescaled, resized_region
from netc.runtime.data.transform import Transform
from netc.runtime.net import rand
from tests.runtime.data.made import GOLDENS, photo

TRAIN, TEST = 0, 1


def transform(phase=TRAIN, **settings):
    param = proto.LayerParameter(name="data", type="Data", transform_param=proto.TransformationParameter(**settings))
    param.data_param.batch_size = 2
    return Transform(param, phase)


def crops(t, picture, count):
    return [t.sample(picture, t.draws("test", i)) for i in range(count)]


def shift_param(**more):
    vectors = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    return proto.ColorShiftParameter(eigenvalue=[9000.0, 800.0, 60.0], eigenvector=vectors.ravel(), **more), vectors


# -- the region is the whole -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", range(60))
def test_resized_region_is_that_of_the_whole_picture(case):
    """To one grey level, anywhere in the crop, its edges included: the box's place is rounded otherwise."""
    draws = rand.draws("region", case, n=6)
    height, width = 30 + int(draws[0] * 120), 30 + int(draws[1] * 120)
    h, w = rescaled(height, width, 20 + int(draws[2] * 140))
    size = (min(h, 5 + int(draws[3] * 40)),) * 2 if min(h, w) >= 45 else (min(h, w) - 3,) * 2
    crop = Crop(h, w, int(draws[4] * (h - size[0] + 1)), int(draws[5] * (w - size[1] + 1)), size, False)
    pixels = photo(height, width, case)
    whole = np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.BILINEAR))
    expected = whole[crop.rows, crop.columns].astype(int)
    for source in (pixels, Image.fromarray(pixels)):
        found = resized_region(source, crop)
        assert found.shape == (*size, 3)
        assert np.abs(found - expected).max() <= 1
    gray = resized_region(pixels[..., :1], crop)
    assert np.abs(gray[..., 0] - expected[..., 0]).max() <= 1


@pytest.mark.parametrize(("size", "short", "expected"), [
    ((375, 500), 256, (256, 341)), ((500, 375), 256, (341, 256)), ((99, 99), 384, (384, 384)), ((1, 9), 2, (2, 18)),
])  # fmt: skip
def test_isotropic_rescaling(size, short, expected):
    assert rescaled(*size, short) == expected


# -- what is sampled ---------------------------------------------------------------------------------------------------


def test_scale_jitter_takes_every_side_of_the_range_in_train_and_the_middle_in_test():
    jitter = proto.RescaleParameter(min_short_side=12, max_short_side=20)
    picture = Picture(photo(40, 60), 0.0, "p")
    drawn = [crop.height for crop in crops(transform(rescale_param=jitter, crop_size=8), picture, 900)]
    assert set(drawn) == set(range(12, 21))
    assert min(drawn.count(side) for side in set(drawn)) > 60  # 100 ± 9.4 expected
    assert {crop.height for crop in crops(transform(TEST, rescale_param=jitter, crop_size=8), picture, 5)} == {16}


def test_crops_are_uniform_in_train_and_central_in_test():
    picture = Picture(photo(11, 14), 0.0, "p")
    places = [(crop.top, crop.left) for crop in crops(transform(crop_size=8), picture, 2800)]
    assert {y for y, _ in places} == set(range(4))
    assert {x for _, x in places} == set(range(7))
    assert min(places.count(place) for place in set(places)) > 60  # 28 places, 100 ± 9.8 expected
    assert {(crop.top, crop.left) for crop in crops(transform(TEST, crop_size=8), picture, 5)} == {(1, 3)}


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_half_of_the_pictures_are_flipped_in_both_phases(phase):
    picture = Picture(photo(8, 8), 0.0, "p")
    assert 420 < sum(crop.flip for crop in crops(transform(phase, mirror=True), picture, 1000)) < 580
    assert not any(crop.flip for crop in crops(transform(phase), picture, 20))


# -- arithmetic --------------------------------------------------------------------------------------------------------


def run(t, picture, crop, draws=(0.5,) * 7):
    planes = t.cut(picture, crop)
    out = np.empty(planes.shape, np.float32)
    t.arithmetic(planes, crop, list(draws), out)
    return out


def test_mean_then_scale_after_the_flip():
    planes = np.random.default_rng(0).integers(0, 256, (3, 6, 7)).astype(np.uint8)
    t = transform(crop_size=4, mirror=True, mean_value=[10.5, 20.25, 30], scale=0.0078125)
    found = run(t, Picture(planes, 0.0, "p", planar=True), Crop(6, 7, 1, 2, (4, 4), True))
    expected = (planes[:, 1:5, 2:6][:, :, ::-1] - np.array([10.5, 20.25, 30]).reshape(3, 1, 1)) * 0.0078125
    assert np.array_equal(found, expected.astype(np.float32))


def test_mean_image_goes_with_the_place_in_the_picture(monkeypatch):
    """Caffe: the pixel's own mean is subtracted, then it is moved to the other side."""
    monkeypatch.chdir(GOLDENS)
    t = transform(mean_file="mean.binaryproto", crop_size=5, mirror=True)
    planes = np.random.default_rng(0).integers(0, 256, (3, 12, 14)).astype(np.uint8)
    picture = Picture(planes, 0.0, "p", planar=True)
    found = run(t, picture, Crop(12, 14, 3, 6, (5, 5), True))
    assert np.array_equal(found, (planes - t.mean_file)[:, 3:8, 6:11][:, :, ::-1])


def test_float_records_keep_their_values():
    planes = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    found = run(transform(), Picture(planes, 0.0, "p", planar=True), Crop(3, 4, 0, 0, (3, 4), False))
    assert np.array_equal(found, planes)


def test_colour_shift_has_a_tenth_of_each_components_deviation():
    param, vectors = shift_param()
    t = transform(color_shift_param=param)
    shifts = np.array([t.shift(t.draws("shift", i)) for i in range(4000)])
    along = shifts @ vectors.T
    deviations = 0.1 * np.sqrt([9000, 800, 60])
    assert np.allclose(along.std(axis=0), deviations, rtol=0.05)  # ± 1.1 % a standard error
    assert (np.abs(along.mean(axis=0)) < 4 * deviations / np.sqrt(4000)).all()
    assert (np.abs(np.corrcoef(along.T) - np.eye(3)) < 0.07).all()


def test_colour_shift_moves_all_pixels_of_a_picture_alike_and_only_in_train():
    param, _ = shift_param()
    picture, crop = Picture(photo(6, 5), 0.0, "p"), Crop(6, 5, 0, 0, (6, 5), False)
    draws = rand.draws("one", n=7)
    t = transform(color_shift_param=param, mean_value=[100, 110, 120])
    plain = run(transform(mean_value=[100, 110, 120]), picture, crop)
    moved = run(t, picture, crop, draws) - plain
    assert np.allclose(moved, t.shift(draws).reshape(3, 1, 1), atol=1e-4)
    assert np.abs(moved).max() > 0.5
    assert np.array_equal(
        run(transform(TEST, color_shift_param=param, mean_value=[100, 110, 120]), picture, crop), plain
    )


def test_colour_components_from_the_file_of_image_mean(tmp_path):
    param, _ = shift_param()
    file = tmp_path / "mean.json"
    file.write_text(json.dumps({"eigenvalue": list(param.eigenvalue), "eigenvector": list(param.eigenvector)}))
    t = transform(color_shift_param=proto.ColorShiftParameter(file=str(file)))
    assert np.allclose(t.shift(t.draws(1)), transform(color_shift_param=param).shift(t.draws(1)), rtol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        '{"eigenvalue": [1, 2, ' + "3" * 5000 + '], "eigenvector": []}',
        '{"eigenvalue": [1, 2, true], "eigenvector": []}',
        '{"eigenvalue": [1, 2, NaN], "eigenvector": []}',
        '{"eigenvalue": "123", "eigenvector": "123456789"}',
        "[]",
        "\xff",
    ],
    ids=lambda text: text[:40],
)
def test_a_file_of_colour_components_that_is_none(tmp_path, text):
    (tmp_path / "mean.json").write_text(text, "latin-1")
    with pytest.raises(NetcError) as caught:
        transform(color_shift_param=proto.ColorShiftParameter(file=str(tmp_path / "mean.json")))
    assert caught.value.code == "D508"


# -- settings that are refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"rescale_param": proto.RescaleParameter()}, "D505"),
        ({"rescale_param": proto.RescaleParameter(short_side=9, min_short_side=8, max_short_side=10)}, "D505"),
        ({"rescale_param": proto.RescaleParameter(min_short_side=8)}, "D505"),
        ({"rescale_param": proto.RescaleParameter(min_short_side=12, max_short_side=10)}, "D505"),
        ({"rescale_param": proto.RescaleParameter(short_side=9), "crop_size": 10}, "D506"),
        ({"mean_file": "mean.binaryproto", "mean_value": [1.0]}, "D507"),
        ({"mean_file": "mean.binaryproto", "rescale_param": proto.RescaleParameter(short_side=9)}, "D507"),
        ({"mean_file": "mean.binaryprot"}, "F120"),
        ({"color_shift_param": proto.ColorShiftParameter(eigenvalue=[1.0])}, "D508"),
        ({"color_shift_param": proto.ColorShiftParameter(eigenvalue=[1, 2, -3], eigenvector=[0.5] * 9)}, "D508"),
        ({"color_shift_param": proto.ColorShiftParameter(file="list.txt")}, "D508"),
        ({"color_shift_param": proto.ColorShiftParameter(file="list.txt", eigenvalue=[1.0])}, "D508"),
        (
            {"color_shift_param": proto.ColorShiftParameter(eigenvalue=[1] * 3, eigenvector=[1] * 9, std=-1)},
            "D508",
        ),
    ],
)
def test_refused_settings(settings, code, monkeypatch):
    monkeypatch.chdir(GOLDENS)
    with pytest.raises(NetcError) as caught:
        transform(**settings)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"crop_size": 13}, "D521", "12×14, less than the crop, 13"),
        ({"mean_value": [1.0, 2.0]}, "D507", "2 values of the mean for images of 3 channels"),
        ({"mean_file": "mean.binaryproto"}, "D507", "is 3×12×14, the images are 3×12×13"),
    ],
)
def test_refused_pictures(settings, code, words, monkeypatch):
    monkeypatch.chdir(GOLDENS)
    picture = Picture(photo(12, 13 if "mean_file" in settings else 14), 0.0, "p")
    t = transform(**settings)
    with pytest.raises(NetcError) as caught:
        run(t, picture, t.sample(picture, t.draws(0)))
    assert caught.value.code == code
    assert words in str(caught.value)


def test_a_thin_picture_is_not_rescaled_to_gigabytes():
    t = transform(rescale_param=proto.RescaleParameter(short_side=64))
    with pytest.raises(NetcError, match="more than 134,217,728 pixels") as caught:
        t.sample(Picture(np.zeros((40_000, 1, 3), np.uint8), 0.0, "thin"), [0.5] * 7)
    assert caught.value.code == "D520"
