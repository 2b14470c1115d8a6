"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from netc.errors import NetcError
from netc.files.durable import Staging, host, write_whole
from netc.files.hashing import digest_of


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_published_files_stand_beside_out(tmp_path):
    out = tmp_path / "x.onnx"
    out.write_text("old")
    with Staging(out) as staging:
        staging.path.write_text("new")
        staging.path.with_name("x.onnx.data").write_text("data")
        assert out.read_text() == "old"
        staging.publish()
    assert names(tmp_path) == ["x.onnx", "x.onnx.data"]
    assert out.read_text() == "new"


def test_nothing_stays_of_what_failed(tmp_path):
    def fail():
        with Staging(tmp_path / "x") as staging:
            staging.path.write_text("half")
            staging.flush(staging.path)
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert names(tmp_path) == []


@pytest.mark.parametrize("number, code", [(errno.ENOSPC, "X166"), (errno.EIO, "X167"), (errno.EACCES, "O165")])
def test_what_the_system_says_becomes_an_error(tmp_path, number, code):
    with pytest.raises(NetcError) as caught, Staging(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert caught.value.code == code
    assert caught.value.exit_status == (73 if code.startswith("O") else 74)
    assert names(tmp_path) == []


def test_a_failed_flush_is_an_error(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(errno.EIO, "Input/output error")

    def write():
        with Staging(tmp_path / "x") as staging:
            staging.path.write_text("half")
            monkeypatch.setattr(os, "fsync", fail)
            staging.flush(staging.path)
            staging.publish()

    with pytest.raises(NetcError) as caught:
        write()
    assert caught.value.code == "X167"
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["missing/x", "file/x", "folder"])
def test_no_place(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NetcError) as caught, Staging(tmp_path / place):
        pass
    assert caught.value.code == "O165"


def test_what_a_killed_process_left_is_removed(tmp_path):
    gone, living = (tmp_path / f".x.tmp-{host()}-{pid}" for pid in (99999999, os.getppid()))
    for folder in (gone, living):
        folder.mkdir()
        (folder / "x").write_text("half")
    with Staging(tmp_path / "x") as staging:
        staging.path.write_text("whole")
        staging.publish()
    assert names(tmp_path) == sorted([living.name, "x"])


def test_out_gets_its_name_last(tmp_path, monkeypatch):
    """`out` vouches for the others: their names are on the disk before it has its own."""
    done = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("replace") or replace(*paths))
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("fsync") or fsync(handle))
    with Staging(tmp_path / "a.json") as staging:
        digests = [staging.write(tmp_path / name, [b"12", b"3" * 100_000]) for name in ("a.json", "b", "c")]
        assert names(tmp_path) == [staging.folder.name]
        staging.publish()
    assert done == ["fsync"] * 3 + ["replace"] * 2 + ["fsync", "replace", "fsync"]
    assert names(tmp_path) == ["a.json", "b", "c"]
    assert digests == [digest_of(tmp_path / "b", 100_002)] * 3


def test_one_file_with_its_rights_and_its_own_error(tmp_path, monkeypatch):
    write_whole(tmp_path / "x", [b"a", memoryview(b"b" * 70_000)], mode=0o640)
    assert (tmp_path / "x").read_bytes() == b"a" + b"b" * 70_000
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640

    def refuse(*names):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ValueError, match="Input/output error"):
        write_whole(tmp_path / "x", [b"new"], lambda error: ValueError(str(error)))
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").stat().st_size == 70_001
