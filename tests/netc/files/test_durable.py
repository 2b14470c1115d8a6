"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from netc.errors import NetcError
from netc.files.durable import Staging, host


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


@pytest.mark.parametrize("number, code", [(errno.ENOSPC, "O166"), (errno.EIO, "O167"), (errno.EACCES, "O165")])
def test_what_the_system_says_becomes_an_error(tmp_path, number, code):
    with pytest.raises(NetcError) as caught, Staging(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert caught.value.code == code
    assert caught.value.exit_status == 73
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
    assert caught.value.code == "O167"
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
