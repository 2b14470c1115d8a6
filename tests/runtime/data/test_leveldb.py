"""A LevelDB, written here by the words of its format documents: tables, Snappy, logs, deletions, damage."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from netc.errors import NetcError
from netc.runtime.data.database import open_database
from netc.runtime.data.leveldb import LevelDB
from netc.runtime.data.lmdb import LMDB
from netc.runtime.data.snappy import Damaged, uncompressed
from tests.effort import at_most
from tests.runtime.data.made import GOLDENS, write_lmdb
from tools.fuzzing.leveldb_files import DELETE, MAGIC, PUT, batch, block, came, folder_of, log, number, table, text


def make(folder: Path, files: dict[str, bytes], *edits: bytes) -> str:
    folder.mkdir()
    for name, content in folder_of(files, *edits).items():
        (folder / name).write_bytes(content)
    return str(folder)


def content(path: str) -> dict[bytes, bytes]:
    with LevelDB(path) as database:
        found = dict(database.record(i) for i in range(len(database)))
        assert list(found) == sorted(found)
        assert list(database.values()) == list(found.values())
        assert list(database.values(backwards=True)) == list(found.values())[::-1]
        assert database.first() == next(iter(found.items()))
    return found


@pytest.mark.parametrize("snappy", [False, True])
def test_tables_and_log(tmp_path: Path, snappy: bool) -> None:
    """The newest entry of a key counts, wherever it stands; deleted ones, old tables and old logs do not."""
    old = table([(b"%03d" % i, i + 1, PUT, b"old %d" % i * i) for i in range(10)], snappy)
    new = table([(b"002", 40, PUT, b"new"), (b"003", 41, DELETE, b""), (b"010", 42, PUT, bytes(5000))], snappy, 1)
    gone = table([(b"zzz", 1, PUT, b"of a table that was merged")])
    writes = log(batch(50, (PUT, b"011", b"x" * 70000), (DELETE, b"004", b"")), batch(52, (PUT, b"005", b"last")))
    merged = b"\x06" + number(0) + number(7) + b"\x05" + number(1) + text(b"where the merge was")
    files = {"000005.ldb": old, "000006.sst": new, "000007.ldb": gone, "000008.log": log(batch(1, (PUT, b"y", b"")))}
    path = make(
        tmp_path / "db", {**files, "000009.log": writes}, came(1, 5) + came(0, 6) + came(0, 7), merged + b"\x02\x09"
    )
    expected = {b"%03d" % i: b"old %d" % i * i for i in range(10) if i not in (3, 4)}
    assert content(path) == {**expected, b"002": b"new", b"005": b"last", b"010": bytes(5000), b"011": b"x" * 70000}


def test_a_write_that_broke_off_does_not_count(tmp_path: Path) -> None:
    writes = log(batch(1, (PUT, b"a", b"1")), batch(2, (PUT, b"b", b"2" * 90)))
    assert content(make(tmp_path / "db", {"000003.log": writes[:-10]})) == {b"a": b"1"}


def test_caffes_own() -> None:
    """What convert_imageset wrote from the pictures that the LMDB has too."""
    with open_database(str(GOLDENS / "db_leveldb")) as ours, open_database(str(GOLDENS / "db_resized")) as lmdb:
        assert isinstance(ours, LevelDB)
        assert isinstance(lmdb, LMDB)
        assert [ours.record(i) for i in range(len(ours))] == [lmdb.record(i) for i in range(len(lmdb))]


def test_what_is_damaged_is_said(tmp_path: Path) -> None:
    whole = table([(b"%03d" % i, 9, PUT, bytes(300)) for i in range(9)])
    for case, fault in enumerate([whole[:500], whole[:-20] + whole[-8:], whole[-48:], b"", bytes(700) + whole[-48:]]):
        with pytest.raises(NetcError) as caught:
            LevelDB(make(tmp_path / str(case), {"000005.ldb": fault}, came(0, 5)))
        assert caught.value.code == "D513"
    with pytest.raises(NetcError, match="without its file 000005.ldb"):
        LevelDB(make(tmp_path / "missing", {}, came(0, 5)))
    with pytest.raises(NetcError, match="edit 77"):
        LevelDB(make(tmp_path / "edit", {}, b"\x4d"))
    with pytest.raises(NetcError) as caught:
        LevelDB(make(tmp_path / "empty", {}))
    assert caught.value.code == "D512"


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    """What is read of a database with wrong bytes is an error of netc's own, or records."""
    rng = np.random.default_rng(2)
    whole = table([(b"%03d" % i, 9, PUT, b"ab" * 20) for i in range(9)], snappy=True)
    writes = log(batch(50, *[(PUT, b"%03d" % i, bytes(40)) for i in range(5, 12)]))
    for case in range(150):
        files = {"000005.ldb": bytearray(whole), "000009.log": bytearray(writes)}
        for content in files.values():
            content[rng.integers(len(content))] = rng.integers(256)
        path = make(tmp_path / str(case), {k: bytes(v) for k, v in files.items()}, came(0, 5))
        assert outcome(path) in ("records", "D513")


def outcome(path: str) -> str:
    try:
        list(LevelDB(path).values())
    except NetcError as error:
        return error.code
    return "records"


def refused(folder: Path, files: dict[str, bytes], *edits: bytes, match: str) -> None:
    """The database is refused as damaged, without much work."""
    with at_most(100), pytest.raises(NetcError, match=match) as caught:
        LevelDB(make(folder, files, *edits))
    assert caught.value.code == "D513"


def test_an_index_that_names_a_block_again_and_again(tmp_path: Path) -> None:
    """Each block is read once, so that the time is bounded by the size of the files."""
    data = block([(b"%05d" % i + bytes(8), bytes(100)) for i in range(600)])
    rows = [(b"%08d" % i + bytes(8), number(0) + number(len(data))) for i in range(60_000)]
    listed = block(rows)
    place = len(data) + 5
    footer = (number(0) + number(0) + number(place) + number(len(listed))).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    refused(tmp_path / "db", {"000005.ldb": data + bytes(5) + listed + bytes(5) + footer}, came(0, 5), match="twice")


def test_one_table_under_many_names(tmp_path: Path) -> None:
    path = make(tmp_path / "db", {"000005.ldb": table([(b"a", 1, PUT, b"")])}, came(0, 5) + came(0, 6))
    (tmp_path / "db/000006.ldb").symlink_to("000005.ldb")
    with pytest.raises(NetcError, match="another name"):
        LevelDB(path)


def test_keys_that_share_a_long_beginning(tmp_path: Path) -> None:
    """2 MB of a file that would become 20 GB of keys."""
    start = number(0) + number(1_000_008) + number(0) + bytes(1_000_008)
    more = b"".join(number(1_000_000) + number(16) + number(0) + b"%08d" % i + bytes(8) for i in range(20_000))
    entries = start + more + struct.pack("<II", 0, 1)
    place = len(entries) + 5
    listed = block([(b"z" * 16, number(0) + number(len(entries)))])
    footer = (number(0) + number(0) + number(place) + number(len(listed))).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    refused(
        tmp_path / "db",
        {"000005.ldb": entries + bytes(5) + listed + bytes(5) + footer},
        came(0, 5),
        match="beyond its block",
    )


def test_a_log_in_pieces_of_one_byte(tmp_path: Path) -> None:
    """The time is in proportion to the length: joined one by one, these pieces would be 20 GB."""
    piece = lambda kind: struct.pack("<IHB", 0, 1, kind) + b"\1"  # noqa: E731
    pieces = piece(2) + piece(3) * 200_000
    assert all(len(pieces[i : i + 32768]) == 32768 for i in range(0, len(pieces) - 32768, 32768))  # no piece is cut
    refused(tmp_path / "db", {"000003.log": pieces + piece(4)}, match="breaks off")


def test_a_log_that_is_damaged_in_the_middle(tmp_path: Path) -> None:
    """What comes behind it is not left out without a word; zeros and a piece cut off end a log."""
    write = batch(1, (PUT, b"a", b"1" * 40_000))
    whole = log(write, batch(2, (PUT, b"b", b"2")))
    assert content(make(tmp_path / "zeros", {"000003.log": whole + bytes(900)})) == {b"a": b"1" * 40_000, b"b": b"2"}
    refused(tmp_path / "kind", {"000003.log": whole[:6] + b"\x09" + whole[7:]}, match="piece")
    refused(tmp_path / "length", {"000003.log": whole[:4] + b"\xff\xff" + whole[6:]}, match="piece")
    refused(tmp_path / "start", {"000003.log": whole[32768:]}, match="without its beginning")


def test_lengths_that_nothing_stands_behind(tmp_path: Path) -> None:
    """A block of a terabyte in a file that is nearly all hole; a packed block that claims as much."""
    path = make(tmp_path / "db", {}, came(0, 5))
    footer = (number(0) + number(0) + number(0) + number(1 << 40)).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    with (tmp_path / "db/000005.ldb").open("wb") as file:
        file.truncate(1 << 41)
        file.seek(0, 2)
        file.write(footer)
    with pytest.raises(NetcError, match="at most") as caught:
        LevelDB(path)
    assert caught.value.code == "D513"
    with pytest.raises(Damaged, match="at most"):
        uncompressed(number(1 << 40) + b"\x00a", 1 << 30)


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-000004", "000005.ldb", "000009.log"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_files_that_are_none(tmp_path: Path, name: str, kind: str) -> None:
    path = make(tmp_path / "db", {"000005.ldb": table([(b"a", 1, PUT, b"")])}, came(0, 5))
    file = tmp_path / "db" / name
    file.unlink(missing_ok=True)
    {"pipe": os.mkfifo, "device": lambda f: f.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](file)
    with pytest.raises(NetcError, match="not a regular file") as caught:
        LevelDB(path)
    assert caught.value.code == "F102"


def test_a_link_to_nothing_beside_it(tmp_path: Path) -> None:
    path = make(tmp_path / "db", {"000003.log": log(batch(1, (PUT, b"a", b"1")))})
    (tmp_path / "db/notes").symlink_to("nowhere")
    assert content(path) == {b"a": b"1"}


def test_a_changed_database_is_read_anew(tmp_path: Path) -> None:
    path = make(tmp_path / "db", {"000003.log": log(batch(1, (PUT, b"a", b"1")))})
    assert content(path) == {b"a": b"1"}
    (tmp_path / "db/000003.log").write_bytes(log(batch(1, (PUT, b"a", b"1")), batch(2, (PUT, b"b", b"2"))))
    assert content(path) == {b"a": b"1", b"b": b"2"}


def test_lmdb_stays_one(tmp_path: Path) -> None:
    with open_database(write_lmdb(tmp_path / "db", {b"a": b"1"})) as database:
        assert isinstance(database, LMDB)


@pytest.mark.parametrize(
    "packed, plain",
    [
        (b"\x00", b""),
        (b"\x05\x10hello", b"hello"),
        (b"\x0a\x04ab\x11\x02", b"ababababab"),  # 8 bytes from 2 before: they repeat themselves
        (b"\x06\x08abc\x0a\x03\x00", b"abcabc"),
        (b"\x06\x08abc\x0b\x03\x00\x00\x00", b"abcabc"),
        (b"\x40\xf0\x3f" + b"z" * 64, b"z" * 64),
        (number(1300) + b"\xf4" + struct.pack("<H", 1295) + bytes(range(256)) * 5 + b"q" * 16 + b"\x21\x10"[:0]
         + bytes([1 | 0 << 2 | 5 << 5, 0x0F]), bytes(range(256)) * 5 + b"q" * 16 + bytes([1, 2, 3, 4])),
    ],
)  # fmt: skip
def test_snappy(packed: bytes, plain: bytes) -> None:
    assert uncompressed(packed, len(plain)) == plain


@pytest.mark.parametrize(
    "packed", [b"", b"\x80", b"\x05\x10hell", b"\x06\x08abc\x0a\x04\x00", b"\x03\x04ab", b"\x02\x0a"]
)
def test_damaged_snappy(packed: bytes) -> None:
    with pytest.raises(Damaged):
        uncompressed(packed, 100)
