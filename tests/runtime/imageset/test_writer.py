"""A database is there whole or not at all: growth, kills, full disks, damaged pictures."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lmdb
import pytest
from PIL import Image

from netc.errors import NetcError
from netc.runtime.imageset import Recipe, build, from_list
from netc.runtime.imageset.writer import Database, write_file

ROOT = Path(__file__).resolve().parents[3]


def test_map_grows_by_itself(tmp_path, records):
    with Database(tmp_path / "db", map_size=1 << 14) as database:
        for number in range(3000):
            database.put(b"%08d" % number, b"\x10\x03" + b"\x22\x7f" + bytes(127))
        database.publish()
    assert len(records(tmp_path / "db")) == 3000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["db"]
    assert sorted(p.name for p in (tmp_path / "db").iterdir()) == ["data.mdb", "lock.mdb"]


def test_a_record_larger_than_the_map(tmp_path):
    with Database(tmp_path / "db", map_size=1 << 14) as database:
        database.put(b"k", bytes(1 << 20))
        database.publish()
    with lmdb.open(str(tmp_path / "db"), readonly=True, lock=False) as env, env.begin() as transaction:
        assert len(transaction.get(b"k")) == 1 << 20


def fill(path, count, error=None):
    """Build a database of `count` records of 2000 bytes, failing with `error` at the end if one is given."""
    with Database(path) as database:
        for number in range(count):
            database.put(b"%08d" % number, bytes(2000))
        if error:
            raise error
        database.publish()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_interruption_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        fill(tmp_path / "db", 3, error)
    assert list(tmp_path.iterdir()) == []


def test_existing_names_are_refused(tmp_path):
    (tmp_path / "db").mkdir()
    with pytest.raises(NetcError) as caught:
        fill(tmp_path / "db", 1)
    assert (caught.value.code, caught.value.exit_status) == ("O140", 73)


def test_two_builders_of_one_database(tmp_path):
    with Database(tmp_path / "db") as first:
        first.put(b"k", b"v")
        with pytest.raises(NetcError) as caught:
            fill(tmp_path / "db", 1)
        first.publish()
    assert caught.value.code == "O141"
    assert (tmp_path / "db" / "data.mdb").exists()


def test_of_many_builders_at_once_one_wins(tmp_path):
    """8 threads that begin together, 40 times: one database, whole, and the others are told."""
    for turn in range(40):
        path, start, outcomes = tmp_path / f"db{turn}", threading.Barrier(8), []

        def build_one(number, path=path, start=start, outcomes=outcomes):
            start.wait()
            try:
                fill(path, 20 + number)
                outcomes.append(20 + number)
            except NetcError as error:
                outcomes.append(error.code)

        threads = [threading.Thread(target=build_one, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (count,) = (outcome for outcome in outcomes if isinstance(outcome, int))
        assert {outcome for outcome in outcomes if outcome != count} <= {"O140", "O141"}
        with lmdb.open(str(path), readonly=True, lock=False) as env:
            assert env.stat()["entries"] == count
        assert sorted(os.listdir(path)) == ["data.mdb", "lock.mdb"]
        assert sorted(os.listdir(tmp_path)) == sorted(f"db{number}" for number in range(turn + 1))


def test_a_second_builder_at_the_last_moment(tmp_path, monkeypatch):
    """When the first one is about to give the database its name, a second one does not get at its files."""
    rename, told = os.rename, []

    def late(*names):
        monkeypatch.setattr(os, "rename", rename)
        with pytest.raises(NetcError) as caught:
            fill(tmp_path / "db", 1)
        told.append(caught.value.code)
        rename(*names)

    monkeypatch.setattr(os, "rename", late)
    fill(tmp_path / "db", 30)
    assert told == ["O141"]
    with lmdb.open(str(tmp_path / "db"), readonly=True, lock=False) as env:
        assert env.stat()["entries"] == 30


def test_one_that_came_meanwhile_stays(tmp_path):
    with Database(tmp_path / "db") as database:
        database.put(b"k", b"v")
        (tmp_path / "db").mkdir()
        (tmp_path / "db/data.mdb").write_text("of another program")
        with pytest.raises(NetcError) as caught:
            database.publish()
    assert caught.value.code == "O140"
    assert (tmp_path / "db/data.mdb").read_text() == "of another program"
    assert os.listdir(tmp_path) == ["db"]


def strange_folder(path):
    path.mkdir()
    (path / "data.mdb").write_text("mine")


def strange_lock(path):
    path.mkdir()
    (path / "build.lock").write_text("mine")


def linked_folder(path):
    strange_folder(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def linked_lock(path):
    path.with_name("elsewhere").write_text("mine")
    path.mkdir()
    (path / "build.lock").symlink_to("../elsewhere")


@pytest.mark.parametrize(
    "put", [strange_folder, strange_lock, linked_folder, linked_lock, lambda path: path.write_text("mine"), os.mkfifo]
)
def test_what_others_put_in_the_way_is_left_alone(tmp_path, put):
    put(tmp_path / "db.building")
    before = {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")}
    with pytest.raises(NetcError, match="in the way") as caught:
        fill(tmp_path / "db", 1)
    assert caught.value.code == "O142"
    assert {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")} == before


def test_an_empty_folder_of_a_build_that_was_killed_at_once(tmp_path):
    (tmp_path / "db.building").mkdir()
    fill(tmp_path / "db", 1)
    (tmp_path / "db2.building").mkdir()
    (tmp_path / "db2.building/build.lock").touch()
    fill(tmp_path / "db2", 1)
    assert sorted(os.listdir(tmp_path)) == ["db", "db2"]


@pytest.mark.parametrize("name", [".", "/", ".."])
def test_names_that_are_none(name):
    with pytest.raises(NetcError, match="exists already"):
        fill(Path(name), 1)


BUILDER = """
import sys
from pathlib import Path
from netc.runtime.imageset.writer import Database
with Database(Path(sys.argv[1])) as database:
    print("ready", flush=True)
    for number in range(40000):
        database.put(b"%08d" % number, bytes(2000))
    database.publish()
"""


def test_killed_at_any_moment_leaves_a_whole_database_or_none(tmp_path):
    """kill -9 at 6 moments of a build of about half a second; the next build clears what is left."""
    for turn, delay in enumerate((0, 0.02, 0.1, 0.2, 0.4, 0.8)):
        path = tmp_path / f"db{turn}"
        child = subprocess.Popen([sys.executable, "-c", BUILDER, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
        child.stdout.readline()
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        if path.exists():
            with lmdb.open(str(path), readonly=True, lock=False) as env:
                assert env.stat()["entries"] == 40000
        else:
            fill(path, 1)
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith(path.name)] == [path.name]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB; skipped where mounting is not allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_full_disk(small_disk):
    with pytest.raises(NetcError) as caught:
        fill(small_disk / "db", 5000)
    assert (caught.value.code, caught.value.exit_status) == ("X140", 74)
    assert "the disk is full" in caught.value.message
    assert list(small_disk.iterdir()) == []


def test_write_error_of_lmdb_is_translated(tmp_path, monkeypatch):
    """The same without a mount: LMDB reports a full disk as an I/O error at the commit."""
    monkeypatch.setattr(Database, "_try_commit", _refuse)
    with pytest.raises(NetcError) as caught:
        fill(tmp_path / "db", 1)
    assert caught.value.code == "X140"
    assert list(tmp_path.iterdir()) == []


def _refuse(database):
    raise lmdb.Error("mdb_txn_commit: Input/output error")


def test_small_files_are_replaced_whole(tmp_path, monkeypatch):
    (tmp_path / "f").write_text("old")
    monkeypatch.setattr(os, "replace", _no_space)
    with pytest.raises(NetcError, match="No space left"):
        write_file(tmp_path / "f", b"new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("f", "old")]


def _no_space(*names):
    raise OSError(28, "No space left on device")


def test_damaged_pictures_are_counted_by_reason(tmp_path, records):
    Image.effect_noise((60, 50), 30).save(tmp_path / "ok.jpg")
    whole = (tmp_path / "ok.jpg").read_bytes()
    damaged = {"cut.jpg": whole[:600], "cut2.jpg": whole[:500], "empty.jpg": b"", "page.jpg": b"<html>"}
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    long = "x" * 510
    names = ["cut.jpg", "nope.jpg", "ok.jpg", "empty.jpg", "page.jpg", "folder", "cut2.jpg", long, "ok.jpg"]
    (tmp_path / "list").write_text("".join(f"{name} 0\n" for name in names))
    summary = build(from_list(tmp_path, tmp_path / "list"), tmp_path / "db", Recipe(encoded=True), workers=3)
    assert list(records(tmp_path / "db")) == ["00000002_ok.jpg", "00000008_ok.jpg"]
    assert summary.reasons()[0] == ("cannot be decoded (image file is truncated)", 2)
    assert [skip.entry.line for skip in summary.skipped] == [1, 2, 4, 5, 6, 7, 8]
    assert {reason for reason, count in summary.reasons() if count == 1} == {
        "no such file",
        "empty file",
        "cannot be decoded (it is not a picture of a format that is read)",
        "a folder, not a file",
        "name too long for a key of 511 bytes",
    }


def test_nothing_usable_makes_no_database(tmp_path):
    (tmp_path / "list").write_text("a.jpg 0\nb.jpg 1\n")
    with pytest.raises(NetcError, match="none of the 2 pictures") as caught:
        build(from_list(tmp_path, tmp_path / "list"), tmp_path / "db", Recipe())
    assert caught.value.code == "D542"
    assert [p.name for p in tmp_path.iterdir()] == ["list"]


def test_a_lock_that_cannot_be_written_is_removed(tmp_path):
    """No file may grow, as on a full disk: what the message says, that nothing was left behind, is true."""
    code = f"""import resource
from netc.runtime.imageset.writer import Database
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with Database(__import__("pathlib").Path({str(tmp_path / "db")!r})):
    pass
"""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert "nothing was left behind" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", ["open", "pwrite"])
def test_a_lock_that_cannot_be_made_or_is_half_written(tmp_path, monkeypatch, call):
    original = getattr(os, call)

    def full(*args, **options):
        if call == "pwrite":
            return original(args[0], args[1][:5], args[2])
        if args[0] == "build.lock":
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **options)

    monkeypatch.setattr(os, call, full)
    with pytest.raises(NetcError) as caught:
        fill(tmp_path / "db", 1)
    assert caught.value.code == "X140"
    assert os.listdir(tmp_path) == []
