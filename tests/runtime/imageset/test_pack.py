"""`netc pack`: against Pillow's own decoding and rescaling, record by record."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from netc import proto
from netc.cli._main import run
from netc.errors import NetcError
from netc.runtime.imageset.pack import pack
from netc.runtime.imageset.writer import Database

LARGE, SMALL = (90, 60), (30, 20)


def picture(size: tuple[int, int], mode: str = "RGB", kind: str = "JPEG", **settings: object) -> bytes:
    """A gradient of a size (width, height), compressed."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    image = Image.fromarray(np.stack([x, y, 255 - x], -1).astype("u1")).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def turned(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


def raw(size: tuple[int, int]) -> proto.Datum:
    pixels = np.asarray(Image.open(io.BytesIO(picture(size, kind="PNG"))))
    planes = pixels[..., ::-1].transpose(2, 0, 1)
    return proto.Datum(channels=3, height=size[1], width=size[0], data=planes.tobytes(), label=6)


RECORDS = {
    b"a": proto.Datum(data=picture(LARGE), label=3, encoded=True, float_data=[3, 9, 12, 45, 60, 1, 0, 0, 90, 30]),
    b"b": proto.Datum(data=picture(SMALL), label=4, encoded=True),
    b"c": proto.Datum(data=picture(LARGE, "L", "PNG"), label=5, encoded=True),
    b"d": raw(LARGE),
    b"e": proto.Datum(channels=2, height=1, width=1, float_data=[0.5, 2.0], label=7),
    b"f": proto.Datum(data=picture(LARGE, exif=turned(6)), label=8, encoded=True),
    b"g": proto.Datum(data=picture(LARGE, "RGBA", "PNG"), label=9, encoded=True),
}


def database(path: Path, records: dict[bytes, bytes]) -> Path:
    with lmdb.open(str(path)) as env, env.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    return path


def read(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return dict(transaction.cursor())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return database(tmp_path / "large_lmdb", {key: datum.SerializeToString() for key, datum in RECORDS.items()})


def test_large_pictures_become_smaller_with_their_boxes(source: Path, tmp_path: Path) -> None:
    made = pack(source, tmp_path / "out", 30, 90)
    found = {key: proto.Datum.FromString(value) for key, value in read(tmp_path / "out").items()}
    assert list(found) == list(RECORDS)
    assert (made.records, made.smaller) == (7, 4)
    assert [datum.label for datum in found.values()] == [3, 4, 5, 6, 7, 8, 9]
    assert {key for key in RECORDS if found[key] == RECORDS[key]} == {b"b", b"e", b"g"}
    images = {key: Image.open(io.BytesIO(found[key].data)) for key in (b"a", b"c", b"d", b"f")}
    assert {image.format for image in images.values()} == {"JPEG"}
    assert [(image.size, image.mode) for image in images.values()] == [
        ((45, 30), "RGB"),
        ((45, 30), "L"),
        ((45, 30), "RGB"),
        ((30, 45), "RGB"),  # turned
    ]
    assert not images[b"f"].getexif()
    assert list(found[b"a"].float_data) == [3, 4.5, 6, 22.5, 30, 1, 0, 0, 45, 15]
    wanted = Image.open(io.BytesIO(RECORDS[b"a"].data)).resize((45, 30), Image.Resampling.BILINEAR)
    for key in (b"a", b"d"):  # to what JPEG loses; a swap of channels would be beyond 100
        difference = np.abs(np.asarray(images[key], "i4") - np.asarray(wanted, "i4"))
        assert difference.mean() < 4


def test_as_stored(source: Path, tmp_path: Path) -> None:
    pack(source, tmp_path / "out", 30, 90, upright=False)
    datum = proto.Datum.FromString(read(tmp_path / "out")[b"f"])
    assert Image.open(io.BytesIO(datum.data)).size == (45, 30)


def test_an_older_database_makes_way_only_for_a_whole_one(source: Path, tmp_path: Path) -> None:
    out = database(tmp_path / "out", {b"older": b""})
    with pytest.raises(NetcError) as caught:
        pack(source, out, 30, 90)
    assert caught.value.code == "O140"
    broken = RECORDS[b"a"].data[:200]
    damaged = proto.Datum(data=broken, encoded=True).SerializeToString()
    bad = database(tmp_path / "bad_lmdb", {b"a": RECORDS[b"b"].SerializeToString(), b"b": damaged})
    with pytest.raises(NetcError) as caught:
        pack(bad, out, 30, 90, force=True)
    assert caught.value.code == "D520"
    assert list(read(out)) == [b"older"]
    pack(source, out, 30, 90, force=True)
    assert list(read(out)) == list(RECORDS)
    assert {entry.name for entry in tmp_path.iterdir()} == {"large_lmdb", "bad_lmdb", "out"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_no_room_or_an_interruption_leaves_the_older_one(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """At the third record, with the threads of further ones under way. (kill -9: test_writer.py.)"""
    out = database(tmp_path / "out", {b"older": b""})

    def put(self: Database, key: bytes, value: bytes) -> None:
        if key == b"c":
            with self._reported():
                raise error

    monkeypatch.setattr(Database, "put", put)
    with pytest.raises(NetcError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        pack(source, out, 30, 90, force=True, workers=2)
    assert getattr(caught.value, "code", "X140") == "X140"
    assert list(read(out)) == [b"older"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"large_lmdb", "out"}


def test_what_is_no_database_does_not_make_way(source: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.txt").write_text("mine")
    for out, code in ((tmp_path / "photos", "O140"), (source, "C140")):
        with pytest.raises(NetcError) as caught:
            pack(source, out, 30, 90, force=True)
        assert caught.value.code == code
    assert (tmp_path / "photos/a.txt").read_text() == "mine"


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert run(["pack", str(source), "-o", out, "--short-side", "30", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["records"], told["smaller"]) == (7, 4)
    assert told["bytes"]["before"] > told["bytes"]["after"]
    assert run(["pack", str(source), "-o", out, "--short-side", "30"]) == 73
    assert run(["pack", str(source), "-o", out, "--short-side", "30", "--force"]) == 0
    assert "7 records, 4 of them made smaller" in capsys.readouterr().out


def test_what_else_a_record_says_stays(tmp_path: Path) -> None:
    """Sizes are those of the new picture; numbers that are no boxes are not lost: that record stays as it is."""
    sizes = proto.Datum(data=picture(LARGE), encoded=True, channels=3, height=60, width=90, label=2)
    unknown = sizes.SerializeToString() + bytes([0xFA, 0x7F, 2, 7, 7])  # a field of a fork's
    odd = proto.Datum(data=picture(LARGE), encoded=True, float_data=[1, 2, 3]).SerializeToString()
    source = database(tmp_path / "from", {b"0": unknown, b"1": odd})
    assert pack(source, tmp_path / "to", 20, 90).smaller == 1
    with lmdb.open(str(tmp_path / "to"), readonly=True, lock=False) as env, env.begin() as transaction:
        first, second = (transaction.get(key) for key in (b"0", b"1"))
    small = proto.Datum.FromString(first)
    assert (small.channels, small.height, small.width, small.label) == (3, 20, 30, 2)
    assert Image.open(io.BytesIO(small.data)).size == (30, 20)
    assert first.endswith(bytes([0xFA, 0x7F, 2, 7, 7]))
    assert second == odd


@pytest.mark.parametrize("name", ["", "data.mdb"])
def test_a_database_is_not_packed_into_itself(tmp_path: Path, name: str) -> None:
    source = database(tmp_path / "from", {b"0": RECORDS[b"a"].SerializeToString()})
    before = (source / "data.mdb").read_bytes()
    with pytest.raises(NetcError) as caught:
        pack(source / name, source, 20, 90, force=True)
    assert caught.value.code == "C140"
    assert (source / "data.mdb").read_bytes() == before
