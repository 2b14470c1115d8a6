"""Records → pictures: both decoders alike, channels as in the file, and everything that is not a picture refused."""

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netc import proto
from netc.runtime.data import decoding
from netc.runtime.data.datum import from_datum
from netc.runtime.data.decoding import Undecodable, as_array
from tests.runtime.data.made import compressed, encoded, photo, raw

PHOTO = photo(45, 62)


def decode(content, color, upright=True):
    return decoding.decode(content, color, upright).pixels


JPEGS = {
    "4:4:4": compressed(PHOTO, quality=95, subsampling=0),
    "4:2:2": compressed(PHOTO, quality=80, subsampling=1),
    "4:2:0": compressed(PHOTO, quality=60, subsampling=2),
    "progressive": compressed(PHOTO, quality=85, progressive=True),
    "gray": compressed(PHOTO[..., 0], quality=85),
    "CMYK": compressed(Image.fromarray(PHOTO).convert("CMYK"), quality=90),
}


def by_pillow(content, color):
    image = Image.open(io.BytesIO(content))
    if color is False:
        image.draft("L", image.size)
    mode = {None: "L" if image.mode == "L" else "RGB", True: "RGB", False: "L"}[color]
    return as_array(image.convert(mode))


@pytest.mark.parametrize("color", [None, True, False])
@pytest.mark.parametrize("name", JPEGS)
def test_simplejpeg_gives_pillows_pixels(name, color):
    pytest.importorskip("simplejpeg")
    assert np.array_equal(as_array(decode(JPEGS[name], color)), by_pillow(JPEGS[name], color))


def test_simplejpeg_gives_pillows_pixels_on_photos(shared):
    pytest.importorskip("simplejpeg")
    files = sorted((shared / "zoo/images/imagenet_samples").glob("*.JPEG"))[::10]
    if not files:
        pytest.skip("no photos here")
    for file in files:
        assert np.array_equal(as_array(decode(file.read_bytes(), None)), by_pillow(file.read_bytes(), None)), file.name


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats(form):
    content = compressed(PHOTO, form)
    assert np.array_equal(as_array(decode(content, None)), PHOTO)
    assert as_array(decode(content, False)).shape == (45, 62, 1)


@pytest.mark.parametrize(
    ("mode", "native"), [("L", 1), ("1", 1), ("LA", 4), ("P", 3), ("RGB", 3), ("RGBA", 4), ("I;16", 1)]
)
def test_channels_of_a_png(mode, native):
    """As many as the file has; a gray image with alpha gets four, as from cv::imdecode."""
    if mode == "I;16":
        image = Image.fromarray(PHOTO[..., 1].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(PHOTO).convert(mode)
    content = compressed(image, "PNG")
    channels = [as_array(decode(content, color)).shape[2] for color in (None, True, False)]
    assert channels == [native, 3, 1]
    if mode == "I;16":
        assert np.array_equal(as_array(decode(content, True)), PHOTO[..., [1, 1, 1]])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a picture"),
        (b"<!DOCTYPE html>", "not a picture"),
        (compressed(PHOTO, "EPS"), "not a picture"),
        (JPEGS["4:2:0"][:700], "truncated"),
        (JPEGS["4:2:0"][:3], "not a picture|file"),
        (compressed(PHOTO, "PNG")[:500], "truncated"),
    ],
    ids=["empty", "web page", "a format that starts programs", "half a JPEG", "three bytes of a JPEG", "half a PNG"],
)
@pytest.mark.parametrize("pillow", [False, True])
def test_undecodable(content, reason, pillow, monkeypatch):
    if pillow:
        monkeypatch.setattr(decoding, "simplejpeg", None)
    with pytest.raises(Undecodable, match=reason):
        decode(content, None)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_unopened(form):
    """A header that promises 60,000×60,000 pixels; nothing of that size is ever allocated."""
    content = bytearray(compressed(PHOTO, form))
    if form == "PNG":
        content[16:24] = (60_000).to_bytes(4, "big") * 2
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    else:
        frame = content.index(b"\xff\xc0")
        content[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    with pytest.raises(Undecodable, match=r"more than 134,217,728 pixels"):
        decode(bytes(content), None)


def test_raw_records():
    planes = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    record = proto.Datum(channels=2, height=3, width=4, label=-3)
    record.data = planes.tobytes()
    picture = from_datum(b"k", record.SerializeToString(), None)
    assert np.array_equal(picture.planes, planes)
    assert (picture.label, picture.name, picture.size) == (-3.0, "k", (2, 3, 4))
    record.ClearField("data")
    record.float_data.extend(planes.ravel() / 8)
    floats = from_datum(b"k", record.SerializeToString(), None)
    assert floats.planes.dtype == np.float32
    assert np.array_equal(floats.planes, planes / 8)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xff\xff\xff", "not a Datum"),
        (b"", "0 values"),
        (proto.Datum(channels=3, height=4, width=5, data=b"x" * 59).SerializeToString(), "59 values .*asks for 60"),
        (proto.Datum(channels=-1, height=-1, width=1, data=b"x").SerializeToString(), "1 values"),
        (proto.Datum(encoded=True).SerializeToString(), "not a picture"),
    ],
    ids=["no message", "empty", "a byte short", "negative", "nothing encoded"],
)
def test_records_that_are_no_pictures(value, reason):
    with pytest.raises(Undecodable, match=reason):
        from_datum(b"k", value, None)


def test_order_of_channels():
    """Encoded pictures come out blue, green, red (, alpha)."""
    rgba = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 9, np.uint8)])
    record = proto.Datum(encoded=True, data=compressed(rgba, "PNG"))
    planes = from_datum(b"k", record.SerializeToString(), None).planes
    assert np.array_equal(planes, rgba[..., [2, 1, 0, 3]].transpose(2, 0, 1))


@pytest.mark.parametrize("inner", [encoded(PHOTO, 3), raw(PHOTO.transpose(2, 0, 1), 3)], ids=["encoded", "raw"])
def test_records_of_ssd(inner):
    """AnnotatedDatum: field 1 is a Datum, 2 the type, 3 the boxes of one class each."""
    body = inner.SerializeToString()
    length = bytes([len(body) & 0x7F | 0x80, len(body) >> 7 & 0x7F | 0x80, len(body) >> 14])
    value = b"\x0a" + length + body + b"\x10\x00\x1a\x02\x08\x05"
    with pytest.raises(Undecodable, match="AnnotatedDatum") as caught:
        from_datum(b"k", value, None)
    assert "boxes" in caught.value.hint


# -- one picture, one meaning: what OpenCV 5.0.0 gives (cv2.imdecode with IMREAD_COLOR; 4.10 the same but for WebP) ----

SCENE = np.zeros((4, 6, 3), np.uint8)
SCENE[:2, :, 0], SCENE[:, :3, 1], SCENE[3, 4:, 2] = 200, 150, 250
UPRIGHT = {
    1: SCENE,
    2: SCENE[:, ::-1],
    3: SCENE[::-1, ::-1],
    4: SCENE[::-1],
    5: SCENE.transpose(1, 0, 2),
    6: SCENE[::-1].transpose(1, 0, 2),
    7: SCENE[::-1, ::-1].transpose(1, 0, 2),
    8: SCENE[:, ::-1].transpose(1, 0, 2),
}
"""By EXIF's definition of its eight orientations, and by cv2."""


def stored(form, turn, mode="RGB"):
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"tiffinfo": {0x0112: turn}} if form == "TIFF" else {"exif": exif}
    options |= {"quality": 100, "subsampling": 0} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    return compressed(Image.fromarray(SCENE).convert(mode), form, **options)


@pytest.mark.parametrize("pillow", [False, True])
@pytest.mark.parametrize("turn", UPRIGHT)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_pictures_are_turned_upright(form, turn, pillow, monkeypatch):
    if pillow:
        monkeypatch.setattr(decoding, "simplejpeg", None)
    content = stored(form, turn)
    close = {"atol": 3 if form == "JPEG" else 0, "rtol": 0}
    np.testing.assert_allclose(as_array(decode(content, True)).astype(int), UPRIGHT[turn], **close)
    np.testing.assert_allclose(as_array(decode(content, None)).astype(int), UPRIGHT[turn], **close)
    assert as_array(decode(content, False)).shape == (*UPRIGHT[turn].shape[:2], 1)
    if form != "TIFF":  # whose orientation is part of decoding it, in OpenCV too
        np.testing.assert_allclose(as_array(decode(content, True, upright=False)).astype(int), SCENE, **close)
        assert decoding.decode(content, True, False).turned == (turn != 1)


def test_an_orientation_in_xmp_does_not_count():
    """OpenCV reads EXIF alone."""
    about = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert as_array(decode(compressed(SCENE, "JPEG", xmp=about), True)).shape == SCENE.shape


@pytest.mark.parametrize(
    ("exif", "turn"),
    [
        (b"", 1),
        (b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 6),
        (b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0", 3),
        (b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0", 1),
        (b"II*\0\xff\xff\xff\xff", 1),
        (b"II*\0\x08\0\0\0\xff\xff\x12", 1),
        (b"MM", 1),
        (b"Exif\0\0XX*\0\x08\0\0\0", 1),
    ],
)
def test_exif_blocks(exif, turn):
    assert decoding.orientation(exif) == turn


def tiff(values, kind, bits):
    """An uncompressed gray TIFF; `kind`: 1 unsigned, 2 signed, 3 floating point."""
    data, (height, width) = values.tobytes(), values.shape
    entries = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 4, height), (279, 4, len(data)), (339, 3, kind)]
    table = b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + table + bytes(4)


@pytest.mark.parametrize("color", [None, True, False])
@pytest.mark.parametrize(
    ("type", "kind"), [("f4", 3), ("f8", 3), ("i4", 2), ("u4", 1), ("i2", 2)], ids=["f4", "f8", "i4", "u4", "i2"]
)
def test_pictures_of_32_bits_are_refused(type, kind, color):
    """cv2.imread gives None for all but int16, of which it makes nonsense."""
    values = np.arange(12, dtype=type).reshape(3, 4) * 70
    with pytest.raises(Undecodable, match="floating-point|signed or 32-bit|not a picture"):
        decode(tiff(values, kind, values.itemsize * 8), color)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_cut_to_the_high_byte(form):
    deep = (np.arange(12, dtype=np.uint16) * 5461).reshape(3, 4)
    content = tiff(deep, 1, 16) if form == "TIFF" else b"P5 4 3 65535\n" + deep.astype(">u2").tobytes()
    content = compressed(Image.fromarray(deep), "PNG") if form == "PNG" else content
    assert np.array_equal(as_array(decode(content, True)), np.stack([deep >> 8] * 3, axis=2))
    assert np.array_equal(as_array(decode(content, None))[..., 0], deep >> 8)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_large_picture_is_refused_before_it_is_unpacked():
    """A PNG of 12,000×12,000 pixels, of which only the beginning is here: that is not even looked at."""
    row = zlib.compress(bytes(12_000 * 3 + 1) * 10, 9)
    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", row), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    tracemalloc.start()
    with pytest.raises(Undecodable, match=r"more than 134,217,728 pixels \(12000×12000\)"):
        decode(content, True)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_one_function_alone_decodes():
    root = Path(decoding.__file__).resolve().parents[2]
    rooms = [root / "runtime", *(path for path in (root / "netc").iterdir() if path.is_dir() and not path.is_symlink())]
    found = [file for room in rooms for file in room.rglob("*.py") if "Image.open(" in file.read_text()]
    others = {
        "netc/pycaffe/io.py",  # load_image is scikit-image's
        "runtime/pycaffe/draw.py",  # a PNG that was just drawn
        "netc/cli/_old_libraries.py",  # words for the user
    }
    assert {str(file.relative_to(root)) for file in found} == {"runtime/data/decoding.py", *others}
