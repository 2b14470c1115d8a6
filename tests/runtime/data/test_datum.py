"""Records → pictures: both decoders alike, channels as in the file, and everything that is not a picture refused."""

import io

import numpy as np
import pytest
from PIL import Image

from netc import proto
from netc.runtime.data import decoding
from netc.runtime.data.datum import from_datum
from netc.runtime.data.decoding import Undecodable, as_array
from tests.runtime.data.made import compressed, photo

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
        import zlib

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
