"""The drawn set: deterministic, varied, boxes that fit, and no class told by its colours."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from netc.runtime.demo.draw import CLASSES, LONGEST, SHORTEST, draw, write_set


def test_a_picture_is_a_function_of_seed_and_index():
    first, again, other_seed, other_index = draw(1, 7), draw(1, 7), draw(2, 7), draw(1, 17)
    assert np.array_equal(first.pixels, again.pixels)
    assert (first.label, first.box) == (again.label, again.box)
    for other in (other_seed, other_index):
        assert other.label == first.label
        assert other.pixels.shape != first.pixels.shape or not np.array_equal(other.pixels, first.pixels)


def test_sizes_vary_and_boxes_hold_the_object():
    pictures = [draw(3, index) for index in range(40)]
    assert [picture.label for picture in pictures] == [index % 10 for index in range(40)]
    assert len({picture.pixels.shape for picture in pictures}) > 30
    for picture in pictures:
        height, width, channels = picture.pixels.shape
        assert SHORTEST <= min(height, width) <= max(height, width) <= LONGEST
        assert channels == 3
        x0, y0, x1, y1 = picture.box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert 0.05 < (x1 - x0) * (y1 - y0) / (width * height) < 0.9
        assert picture.pixels.std() > 10


def test_colours_do_not_tell_the_class():
    """The mean colours of the classes differ by less than the pictures of one class do (ratio of variances)."""
    means = np.array([draw(5, index).pixels.mean(axis=(0, 1)) for index in range(400)]).reshape(40, 10, 3)
    between, within = means.mean(axis=0).var(axis=0), means.var(axis=0).mean(axis=0)
    assert (between < 0.15 * within).all()


def test_a_written_set(tmp_path):
    write_set(tmp_path, seed=1, first=30, count=20)
    content = json.loads((tmp_path / "boxes.json").read_text())
    names = {one["id"]: one["file_name"] for one in content["images"]}
    boxes = {names[one["image_id"]]: one for one in content["annotations"]}
    sizes = {one["file_name"]: (one["width"], one["height"]) for one in content["images"]}
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    assert sorted(boxes) == sorted(sizes) == files
    assert {name.split("/")[0] for name in files} == set(CLASSES)
    with Image.open(tmp_path / "ball" / "00031.jpg") as image:
        drawn = draw(1, 31)
        assert image.size == sizes["ball/00031.jpg"]
        assert np.abs(np.asarray(image).astype(int) - drawn.pixels).mean() < 8  # JPEG of a noisy picture
    x1, y1, x2, y2 = drawn.box
    ball = boxes["ball/00031.jpg"]
    assert ball["bbox"] == [x1, y1, x2 - x1, y2 - y1]
    assert {one["id"]: one["name"] for one in content["categories"]}[ball["category_id"]] == "ball"


def test_the_class_names_are_in_the_order_of_labels():
    assert list(CLASSES) == sorted(CLASSES)
    assert len(CLASSES) == 10
