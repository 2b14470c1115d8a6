"""Databases against those of Caffe's own convert_imageset (goldens/data)."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netc import NetcError, compile_net
from netc.runtime.data import open_feed, probe
from netc.runtime.imageset import Recipe, build, from_folders, from_list
from netc.runtime.imageset.mean import statistics
from netc.runtime.imageset.pictures import Unusable, convert

SIZE = (12, 14)
CASES = {
    "db_native": ("list.txt", Recipe()),
    "db_resized": ("list.txt", Recipe(size=SIZE)),
    "db_gray": ("list.txt", Recipe(size=SIZE, gray=True)),
    "db_missing": ("list_missing.txt", Recipe(size=SIZE)),
    "db_encoded": ("list.txt", Recipe(encoded=True)),
    "db_encode_png": ("list.txt", Recipe(size=SIZE, encoded=True, encode_type="png")),
    "db_encode_type_only": ("list.txt", Recipe(encoded=True, encode_type="jpg")),
}
FIELDS = ("label", "channels", "height", "width", "encoded")


@pytest.fixture(params=CASES)
def case(request, shared, tmp_path, records):
    """(name, Caffe's description, Caffe's arrays, our records) of one database."""
    data = shared / "goldens" / "data"
    list_name, recipe = CASES[request.param]
    build(from_list(data / "images", data / list_name), tmp_path / "db", recipe, workers=2)
    described = json.loads((data / f"{request.param}.json").read_text())
    return request.param, described, np.load(data / f"{request.param}.npz"), records(tmp_path / "db")


def test_keys_labels_and_fields_are_caffes(case):
    _, described, _, ours = case
    assert list(ours) == [row["key"] for row in described]
    for row, datum in zip(described, ours.values(), strict=True):
        assert {name: getattr(datum, name) for name in FIELDS} == {name: row[name] for name in FIELDS}
        assert datum.HasField("encoded") == row["has_encoded"]
        assert datum.HasField("channels") == (not row["encoded"])


def test_records_are_caffes_to_the_byte(case):
    """Raw pixels of PNG and JPEG, resized and gray ones too, and files that were kept; not what was encoded anew."""
    name, described, arrays, ours = case
    for index, (row, datum) in enumerate(zip(described, ours.values(), strict=True)):
        kept = name == "db_encoded" or (name == "db_encode_type_only" and row["key"].endswith("jpg"))
        if kept or not row["encoded"]:
            assert datum.SerializeToString(deterministic=True) == arrays[f"raw_{index}"].tobytes(), row["key"]


def test_files_encoded_anew_show_the_same_picture(case):
    """PNG is exact. JPEG: OpenCV and Pillow use the same tables at quality 95, their libjpegs may round by one."""
    name, described, arrays, ours = case
    if not described[0]["encoded"]:
        pytest.skip("raw pixels")
    for index, datum in enumerate(ours.values()):
        mine, caffes = (_pixels(content) for content in (datum.data, arrays[f"bytes_{index}"].tobytes()))
        assert mine.shape == caffes.shape
        assert np.abs(mine - caffes).max() <= (1 if name == "db_encode_type_only" else 0)


def _pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture
def folders(tmp_path):
    """Two classes with three pictures, 40×30 JPEGs and a 33×50 PNG, one of them in a deeper folder."""
    root = tmp_path / "photos"
    noise = np.random.default_rng(5).integers(0, 255, (50, 40, 3), np.uint8)
    for name, array in {"b dog/1.jpg": noise[:30], "b dog/x/2.JPEG": noise[:30], "a/3.png": noise[:, :33]}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(root / name)
    (root / ".hidden").mkdir()
    (root / "a" / "notes.txt").write_text("no picture")
    return root


def test_folders_are_classes_and_files_are_kept(folders, tmp_path, records):
    listing = from_folders(folders)
    summary = build(listing, tmp_path / "db", Recipe(encoded=True))
    ours = records(tmp_path / "db")
    assert list(ours) == ["00000000_a/3.png", "00000001_b dog/1.jpg", "00000002_b dog/x/2.JPEG"]
    assert [datum.label for datum in ours.values()] == [0, 1, 1]
    assert all(datum.data == (folders / key[9:]).read_bytes() for key, datum in ours.items())
    assert (tmp_path / "db.labels.txt").read_text() == "a\nb dog\n"
    assert (summary.pictures, summary.kept, summary.warnings) == (3, 3, [])
    assert summary.sizes == {(3, 50, 33): 1, (3, 30, 40): 2}


def test_given_classes_fix_the_labels(folders, tmp_path):
    listing = from_folders(folders, ("x", "b dog", "a"))
    assert {entry.name.split("/")[0]: entry.label for entry in listing.entries if entry} == {"a": 2, "b dog": 1}
    summary = build(listing, tmp_path / "db", Recipe(encoded=True))
    message = "labels go from 1 to 2, but 1 of these 3 have no picture: 0 (Caffe counts classes from 0)"
    assert summary.warnings == [message]


def test_short_side_keeps_the_shape(folders, tmp_path, records):
    build(from_folders(folders), tmp_path / "db", Recipe(encoded=True, short_side=20))
    sizes = {key[9:]: _pixels(datum.data).shape[:2] for key, datum in records(tmp_path / "db").items()}
    assert sizes == {"a/3.png": (30, 20), "b dog/1.jpg": (20, 27), "b dog/x/2.JPEG": (20, 27)}


def test_a_short_side_that_fits_already_keeps_the_file(folders, tmp_path):
    assert build(from_folders(folders), tmp_path / "db", Recipe(encoded=True, short_side=30)).kept == 2


def test_gray_is_not_a_kept_colour_file(folders, tmp_path, records):
    build(from_folders(folders), tmp_path / "db", Recipe(encoded=True, gray=True))
    for datum in records(tmp_path / "db").values():
        with Image.open(io.BytesIO(datum.data)) as image:
            assert image.mode == "L"


def test_shuffling_is_a_function_of_the_seed(shared):
    data = shared / "goldens" / "data"
    listing = from_list(data / "images", data / "list.txt")
    orders = [listing.shuffled(seed).entries for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0], key=lambda entry: entry.line) == list(listing.entries) != list(orders[0])


def test_upright_and_16_bits(tmp_path, records):
    """What cv::imread does: EXIF's rotation is applied, a 16-bit PNG is cut to its high bytes."""
    rotated = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated.save(tmp_path / "r.png", exif=exif)
    deep = (np.arange(6, dtype=np.uint16) * 9000).reshape(2, 3)
    Image.fromarray(deep).save(tmp_path / "d.png")
    (tmp_path / "list").write_text("r.png 0\nd.png 1\n")
    build(from_list(tmp_path, tmp_path / "list"), tmp_path / "db", Recipe())
    first, second = records(tmp_path / "db").values()
    assert (first.height, first.width) == (5, 4)
    assert np.array_equal(np.frombuffer(second.data, np.uint8).reshape(3, 2, 3), np.stack([deep >> 8] * 3))


def test_a_format_that_the_data_layer_does_not_read_is_no_picture(tmp_path):
    """Kept as it is, it could not be decoded again; and some of Pillow's formats start other programs."""
    for form in ("PCX", "EPS"):
        Image.new("RGB", (6, 5)).save(tmp_path / "a.jpg", form)
        with pytest.raises(Unusable, match="not a picture of a format that is read"):
            convert(tmp_path / "a.jpg", 0, Recipe(encoded=True))


def test_a_picture_that_claims_too_many_pixels_is_refused_unopened(tmp_path):
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, "PPM")
    (tmp_path / "a.ppm").write_bytes(content.getvalue().replace(b"1 1", b"20000 9000"))
    with pytest.raises(Unusable, match="more than 134,217,728 pixels"):
        convert(tmp_path / "a.ppm", 0, Recipe())


SCENE = np.zeros((64, 48, 3), np.uint8)
SCENE[:32] = 220  # bright above, dark below, in portrait format


def lying(path):
    """A phone's file: the scene lies on its side, and EXIF says to turn it by a quarter to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SCENE).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("recipe", [{}, {"encoded": True}, {"short_side": 48}, {"encode_type": "png", "encoded": True}])
def test_every_way_to_a_net_shows_a_phones_picture_alike(tmp_path, recipe, upright, monkeypatch):
    """Pixels and files kept, ImageData, image-mean and WindowData: upright as from cv2, or all as stored."""
    monkeypatch.chdir(tmp_path)
    lying("p.jpg")
    Path("list").write_text("p.jpg 0\n")
    Path("windows").write_text("# 0\np.jpg\n3 64 48\n2\n1 1 0 0 47 47\n0 0 0 0 47 47\n")
    summary = build(from_list(tmp_path, tmp_path / "list"), tmp_path / "db", Recipe(**recipe, upright=upright))
    wanted = SCENE if upright else SCENE.transpose(1, 0, 2)[::-1]
    assert list(summary.sizes) == [(3, *wanted.shape[:2])]
    assert len(summary.warnings) == (not upright and recipe == {"encoded": True})
    planes = wanted.transpose(2, 0, 1).astype(int)
    for kind, block in (
        ("Data", 'data_param { source: "db" batch_size: 1 }'),
        ("ImageData", 'image_data_param { source: "list" batch_size: 1 }'),
    ):
        as_stored = "transform_param { ignore_orientation: true }" if not upright and "Data" in kind else ""
        text = f'layer {{ type: "{kind}" top: "x" top: "y" {block} {as_stored} }}'
        feed = open_feed(compile_net(text, "TRAIN", probe=probe).nodes[0].layer, 0, 1)
        assert np.abs(feed.batch(0)[0][0].numpy().astype(int) - planes).max() <= 4, kind
        feed.close()
    transform = f"transform_param {{ crop_size: 48 ignore_orientation: {str(not upright).lower()} }}"
    text = f"""layer {{ type: "WindowData" top: "x" top: "y" {transform}
      window_data_param {{ source: "windows" batch_size: 1 fg_fraction: 1 }} }}"""
    feed = open_feed(compile_net(text, "TRAIN").nodes[0].layer, 0, 1)
    assert np.abs(feed.batch(0)[0][0].numpy().astype(int) - planes[:, :48, :48]).max() <= 4
    feed.close()
    mean = statistics(tmp_path / "db", upright=upright).mean
    assert np.abs(mean - planes).max() <= 4


def test_check_size_sees_what_training_sees(tmp_path):
    """One picture in portrait format, and one that is turned to it."""
    lying(tmp_path / "a.jpg")
    Image.fromarray(SCENE).save(tmp_path / "b.jpg")
    (tmp_path / "list").write_text("a.jpg 0\nb.jpg 0\n")
    build(from_list(tmp_path, tmp_path / "list"), tmp_path / "db", Recipe(encoded=True), check_size=True)
    recipe = Recipe(encoded=True, upright=False)
    with pytest.raises(NetcError) as caught:
        build(from_list(tmp_path, tmp_path / "list"), tmp_path / "other", recipe, check_size=True)
    assert caught.value.code == "D543"


def test_thin_pictures_do_not_explode(tmp_path):
    """A few kilobytes of PNG, 2,000,000 pixels high and one wide: no resize of it takes gigabytes."""
    Image.new("L", (1, 2_000_000)).save(tmp_path / "thin.png")
    tracemalloc.start()
    record = convert(tmp_path / "thin.png", 0, Recipe(size=(256, 256)))
    assert (record.height, record.width) == (256, 256)
    with pytest.raises(Unusable, match="more than 134,217,728 pixels"):
        convert(tmp_path / "thin.png", 0, Recipe(short_side=256))
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
