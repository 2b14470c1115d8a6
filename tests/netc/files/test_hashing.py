"""The hash of a file in a thread: the standard one, and what happens to the file meanwhile."""

from __future__ import annotations

import hashlib
import os
import sys

import pytest

from netc.errors import NetcError
from netc.files import hashing
from netc.files.hashing import Hashing, short_turns


@pytest.mark.parametrize("size", [0, 1, 1000, 4097])
def test_the_hash(tmp_path, monkeypatch, size):
    monkeypatch.setattr(hashing, "_PIECE", 1000)
    data = os.urandom(size)
    (path := tmp_path / "x").write_bytes(data)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    assert Hashing.begun(path).hexdigest() == hashlib.sha256(data).hexdigest()
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_hashed_is_left_to_whoever_reads_it(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("missing", "fifo", ".", "\0"):
        assert Hashing.begun(tmp_path / name) is None


def test_another_file_of_the_name(tmp_path):
    (path := tmp_path / "x").write_bytes(b"one")
    begun = Hashing.begun(path)
    with path.open("rb") as file:
        assert begun.is_of(file.fileno())
    (tmp_path / "y").write_bytes(b"one")
    os.replace(tmp_path / "y", path)
    with path.open("rb") as file:
        assert not begun.is_of(file.fileno())


def test_a_file_that_shrinks(tmp_path, monkeypatch):
    (path := tmp_path / "x").write_bytes(b"one")
    monkeypatch.setattr(os, "preadv", lambda *arguments: 0)
    with pytest.raises(NetcError) as caught:
        Hashing.begun(path).hexdigest()
    assert caught.value.code == "X110"


def test_short_turns_end():
    before = sys.getswitchinterval()
    with short_turns():
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before
