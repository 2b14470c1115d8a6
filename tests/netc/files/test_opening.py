"""What is opened is a regular file of a sensible size; nothing else is waited for or read."""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from netc.errors import NetcError, Place
from netc.files.opening import handle_of, open_regular, read_bytes
from netc.files.owned import Foreign, open_own


def test_a_regular_file_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link", 3) == b"abc"
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"abc"


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))
    return path


def _link(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("make", [_fifo, _link, lambda path: path.parent, lambda path: Path("/dev/tty0")])
def test_everything_else_is_refused_at_once(tmp_path: Path, make: object) -> None:
    path = make(tmp_path / "it")  # type: ignore[operator]
    if not path.exists():
        pytest.skip("not on this machine")
    with pytest.raises((NetcError, OSError)) as caught:
        read_bytes(path, 1000)
    if isinstance(caught.value, NetcError):
        assert caught.value.code == "F102"


def test_a_socket_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        open_regular(_socket(tmp_path / "s"))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"")
    os.truncate(path, 1 << 40)
    with pytest.raises(NetcError) as caught:
        read_bytes(path, 1000, Place("list.txt", 3))
    assert (caught.value.code, caught.value.place.line) == ("F104", 3)  # type: ignore[union-attr]


def test_memory_is_that_of_the_file_not_of_the_limit(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"abc")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "small", 1 << 40) == b"abc"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_missing_file_is_for_the_caller_to_explain(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_a_name_with_a_nul_is_that_of_no_file(tmp_path):
    """A prototxt may name one: root_folder, snapshot_prefix."""
    with pytest.raises(FileNotFoundError):
        handle_of(tmp_path / "a\0b")
    with pytest.raises(Foreign):
        open_own(tmp_path / "a\0b", b"mark")


def test_links_that_lead_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(NetcError, match="its links go in a circle") as caught:
        open_regular(tmp_path / "a")
    assert (caught.value.code, caught.value.exit_status) == ("F102", 66)


def test_a_name_that_no_file_can_have_is_not_moved_away(tmp_path: Path) -> None:
    with pytest.raises(Foreign) as caught:
        open_own(f"{tmp_path}/a\0b", b"mark")
    assert caught.value.hint == "set a snapshot_prefix without a NUL (\\0)"
