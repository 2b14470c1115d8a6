"""WindowData against a pixel-by-pixel account of Caffe's layer, and its window files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import netc
from netc import NetcError, proto
from netc.runtime.data import open_feed, opencv

SIDE, BATCH = 12, 8
SIZES = {"a.png": (40, 31), "b.png": (23, 52)}
BOXES = {
    "a.png": [(5, 0.9, 3, 4, 20, 30), (0, 0.1, 0, 0, 30, 39), (2, 0.5, 25, 30, 30, 39), (9, 0.4, 1, 1, 5, 5)],
    "b.png": [(7, 0.75, 40, 2, 51, 20), (3, 0.2, 10, 10, 11, 12), (1, 1, 0, 0, 51, 22)],
}

Make = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = []
    for number, (name, (height, width)) in enumerate(SIZES.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
        lines += [f"# {number}", name, "3", str(height), str(width), str(len(BOXES[name]))]
        lines += [" ".join(map(str, box)) for box in BOXES[name]]
    (tmp_path / "windows.txt").write_text("\n".join(lines) + "\n")
    mean = np.random.default_rng(9).uniform(90, 130, (3, SIDE + 4, SIDE + 5)).astype(np.float32)
    blob = proto.BlobProto(num=1, channels=3, height=SIDE + 4, width=SIDE + 5, data=mean.ravel().tolist())
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    return tmp_path


@pytest.fixture
def feed_of(folder: Path) -> Any:
    opened = []

    def make(window: str = "", transform: str = "", seed: int = 3, workers: int = 2, phase: str = "TRAIN") -> Any:
        text = f"""layer {{ name: "w" type: "WindowData" top: "data" top: "label"
          transform_param {{ crop_size: {SIDE} {transform} }}
          window_data_param {{ source: "windows.txt" batch_size: {BATCH} fg_fraction: 0.4 {window} }} }}"""
        (folder / "net.prototxt").write_text(text)
        layer = netc.compile_net(str(folder / "net.prototxt"), phase).nodes[0].layer
        opened.append(open_feed(layer, 0, seed, workers))
        return opened[-1]

    yield make
    for feed in opened:
        feed.close()


def c_round(x: float) -> int:
    return math.floor(x + 0.5) if x >= 0 else math.ceil(x - 0.5)


def by_pixels(
    image: np.ndarray, box: Any, context: int, square: bool, flip: bool, mean: Any, scale: float
) -> np.ndarray:
    """(3, SIDE, SIDE) for a (H, W, BGR) image, step by step as the layer's source has it."""
    x1, y1, x2, y2 = box
    pad_w = pad_h = 0
    size_w = size_h = SIDE
    if context > 0 or square:
        grown = SIDE / (SIDE - 2 * context)
        half_h, half_w = (y2 - y1 + 1) / 2.0, (x2 - x1 + 1) / 2.0
        mid_x, mid_y = x1 + half_w, y1 + half_h
        if square:
            half_h = half_w = max(half_h, half_w)
        x1, x2 = c_round(mid_x - half_w * grown), c_round(mid_x + half_w * grown)
        y1, y2 = c_round(mid_y - half_h * grown), c_round(mid_y + half_h * grown)
        whole_h, whole_w = y2 - y1 + 1, x2 - x1 + 1
        left, top = max(0, -x1), max(0, -y1)
        right, bottom = max(0, x2 - image.shape[1] + 1), max(0, y2 - image.shape[0] + 1)
        x1, x2, y1, y2 = x1 + left, x2 - right, y1 + top, y2 - bottom
        scale_x, scale_y = SIDE / whole_w, SIDE / whole_h
        size_w, size_h = c_round((x2 - x1 + 1) * scale_x), c_round((y2 - y1 + 1) * scale_y)
        pad_h = c_round(top * scale_y)
        pad_w = c_round(right * scale_x) if flip else c_round(left * scale_x)
        size_h, size_w = min(size_h, SIDE - pad_h), min(size_w, SIDE - pad_w)
    part = opencv.resize(np.ascontiguousarray(image[y1 : y2 + 1, x1 : x2 + 1]), size_h, size_w)
    if flip:
        part = part[:, ::-1]
    out = np.zeros((3, SIDE, SIDE))
    for c in range(3):
        for h in range(size_h):
            for w in range(size_w):
                offset = mean[c, h + pad_h, w + pad_w] if mean.ndim == 3 else mean[c]
                out[c, h + pad_h, w + pad_w] = (float(part[h, w, c]) - offset) * scale
    return out


@pytest.mark.parametrize("square", [False, True], ids=["warp", "square"])
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("mean", ["none", "values", "file"])
def test_every_picture_is_a_box_as_caffe_cuts_it(
    feed_of: Make, folder: Path, square: bool, context: int, mean: str
) -> None:
    transform = {"none": "", "values": "mean_value: [100, 110, 120]", "file": 'mean_file: "mean.binaryproto"'}[mean]
    window = f"context_pad: {context} crop_mode: '{'square' if square else 'warp'}'"
    feed = feed_of(window, f"mirror: true scale: 0.5 {transform}")
    offset = np.array({"values": [100, 110, 120]}.get(mean, [0, 0, 0]), np.float64)
    if mean == "file":
        blob = proto.BlobProto.FromString((folder / "mean.binaryproto").read_bytes())
        start = 5 // 2
        offset = np.array(blob.data).reshape(3, SIDE + 4, SIDE + 5)[:, start : start + SIDE, start : start + SIDE]
    images = {name: np.asarray(Image.open(folder / name))[:, :, ::-1] for name in SIZES}
    candidates = {(label if overlap >= 0.5 else 0): [] for boxes in BOXES.values() for label, overlap, *_ in boxes}
    for name, boxes in BOXES.items():
        for label, overlap, *box in boxes:
            for flip in (False, True):
                made = by_pixels(images[name], box, context, square, flip, offset, 0.5)
                candidates[label if overlap >= 0.5 else 0].append(made)
    for k in range(3):
        data, labels = feed.batch(k)
        assert tuple(data.shape) == (BATCH, 3, SIDE, SIDE)
        assert (labels[:5] == 0).all()  # 8 - int(8 · 0.4) of background come first
        assert (labels[5:] > 0).all()
        for picture, label in zip(data.numpy(), labels.tolist(), strict=True):
            gaps = [np.abs(picture - made).max() for made in candidates[int(label)]]
            assert min(gaps) < 1e-4


def test_a_batch_is_a_function_of_its_number_and_all_boxes_come(feed_of: Make) -> None:
    one, other = feed_of("", "mirror: true", workers=1), feed_of("cache_images: true", "mirror: true", workers=2)
    seen: set[float] = set()
    for k in (7, 0, 3, 1, 2):
        for a, b in zip(one.batch(k), other.batch(k), strict=True):
            np.testing.assert_array_equal(a, b)
        seen |= set(one.batch(k)[1].tolist())
    assert seen == {0, 1, 2, 5, 7}  # the box of overlap 0.4 is background, its class does not count
    assert not np.array_equal(feed_of("", "mirror: true", seed=4).batch(0)[0], one.batch(0)[0])
    assert one.size is None


def test_boxes_between_the_thresholds_are_left_out(feed_of: Make) -> None:
    feed = feed_of("fg_threshold: 0.95 bg_threshold: 0.15")
    assert {x for k in range(6) for x in feed.batch(k)[1].tolist()} == {0, 1}
    assert len(feed.records.file.background) == 1


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("", "D551", "is empty"),
        ("0 a.png", "D551", 'begins with "#"'),
        ("# 0\na.png\n3\n40\n31\n2\n1 0.9 0 0 3 3\n", "D551", "2 boxes of 6 numbers each should follow"),
        ("# 0\na.png\nthree\n", "D551", "the image's channels is a whole number, not three"),
        ("# 0\na.png\n3\n40\n31\n1\n1 0.9 0 x 3 3\n", "D551", "a box is six numbers"),
        ("# 0\na.png\n3\n40\n31\n1\n0 0.9 0 0 3 3\n", "D551", "its class is 0"),
        ("# 0\na.png\n3\n40\n31\n1\n1 0.9 0 0 3 3\n", "D553", "a batch needs background"),
        ("# 0\na.png\n3\n40\n31\n1\n1 0.1 0 0 3 3\n", "D553", "a batch needs objects"),
        ("# 0\nno.png\n3\n40\n31\n2\n1 0.9 0 0 3 3\n0 0 0 0 3 3", "D520", 'no picture "no.png"'),
    ],
)
def test_what_is_wrong_with_a_window_file(folder: Path, feed_of: Make, text: str, code: str, part: str) -> None:
    (folder / "windows.txt").write_text(text)
    with pytest.raises(NetcError) as caught:
        feed_of().batch(0)
    assert caught.value.code == code
    assert part in caught.value.message


def test_the_line_of_a_wrong_word_is_named(folder: Path, feed_of: Make) -> None:
    (folder / "windows.txt").write_text("# 0\na.png\n3\n\n40 31\n1\n1 0.9 0 x 3 3\n")
    with pytest.raises(NetcError) as caught:
        feed_of()
    assert (Path(caught.value.path).name, caught.value.line) == ("windows.txt", 7)


@pytest.mark.parametrize("window", ["", "context_pad: 1"])
def test_a_box_outside_its_picture(folder: Path, feed_of: Make, window: str) -> None:
    (folder / "windows.txt").write_text("# 0\na.png\n3\n40\n31\n2\n1 0.9 90 90 99 99\n0 0 0 0 3 3")
    with pytest.raises(NetcError, match=r'the box \(90, 90, 99, 99\) lies outside the picture "a.png", 40×31'):
        feed_of(window).batch(0)


def test_settings_are_checked(feed_of: Make) -> None:
    for window, part in (
        ("context_pad: 6", "leaves nothing of crop_size 12"),
        ('crop_mode: "squar"', 'did you mean "square"'),
    ):
        with pytest.raises(NetcError, match=part):
            feed_of(window)
    with pytest.raises(NetcError, match="has no rescale_param"):
        feed_of("", "rescale_param { short_side: 40 }")
    with pytest.raises(NetcError, match="not a share"):
        netc.compile_net("""layer { name: "w" type: "WindowData" top: "data" top: "label"
          window_data_param { batch_size: 2 crop_size: 5 fg_fraction: 2 } }""")


def test_it_trains(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    run = netc.load_solver(f"""net_param {{
      layer {{ name: "w" type: "WindowData" top: "data" top: "label" transform_param {{ crop_size: {SIDE} scale: 0.01 }}
        window_data_param {{ source: "windows.txt" batch_size: {BATCH} }} }}
      layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
        inner_product_param {{ num_output: 8 weight_filler {{ type: "xavier" }} }} }}
      layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }} }}
      base_lr: 0.01 lr_policy: "fixed" max_iter: 3""")
    assert run.step(3) > 0
    run.close()


def test_however_a_window_file_is_written(folder: Path, feed_of: Make) -> None:
    """Windows' and old Macs' line ends, a byte-order mark, tabs, a name with blanks, a name in quotes."""
    (folder / "a.png").rename(folder / "my a.png")
    plain = (folder / "windows.txt").read_text().replace("a.png", "my a.png")
    (folder / "windows.txt").write_text(plain)
    wanted = feed_of().batch(0)
    for text in (
        plain.replace("\n", "\r\n"),
        plain.replace("\n", "\r"),
        "\ufeff" + plain,
        plain.replace(" 0.9 ", "\t0.9  ").replace("\n", " \n"),
        plain.replace("my a.png", '"my a.png"'),
        plain.replace("my a.png", str(folder / "my a.png")),
    ):
        (folder / "windows.txt").write_bytes(text.encode())
        found = feed_of().batch(0)
        assert all(one.equal(other) for one, other in zip(found, wanted, strict=True)), text
    (folder / "windows.txt").write_text(plain.replace("\n", " "))  # words alone count, so names have no blanks
    with pytest.raises(NetcError, match="whole number"):
        feed_of()


@pytest.mark.parametrize("word", ["nan", "inf", "1e39", "9" * 400])
def test_boxes_are_of_ordinary_numbers(folder: Path, feed_of: Make, word: str) -> None:
    text = (folder / "windows.txt").read_text().replace("5 0.9 3", f"5 0.9 {word}")
    (folder / "windows.txt").write_text(text)
    with pytest.raises(NetcError, match="a box is six numbers") as caught:
        feed_of()
    assert (caught.value.code, caught.value.line) == ("D551", 7)


def test_a_missing_picture_names_its_line(folder: Path, feed_of: Make) -> None:
    (folder / "b.png").unlink()
    feed = feed_of()
    with pytest.raises(NetcError, match=r'no picture "b\.png": there is no .*b\.png') as caught:
        [feed.batch(k) for k in range(8)]
    assert (caught.value.path, caught.value.line) == (str(folder / "windows.txt"), 12)
