"""`netc fmt`: what is written, what is only said, and what is never harmed."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from netc.cli._main import run

LOOSE, TIDY = "name:'x'   # n\nlayer{name:'a'}\n", 'name: "x"  # n\nlayer { name: "a" }\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loose.prototxt").write_text(LOOSE)
    (tmp_path / "tidy.prototxt").write_text(TIDY)
    return tmp_path


def test_a_file_is_rewritten_in_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chmod("loose.prototxt", 0o640)
    assert run(["fmt", "loose.prototxt", "tidy.prototxt"]) == 0
    assert (folder / "loose.prototxt").read_text() == TIDY
    assert stat.S_IMODE(os.stat("loose.prototxt").st_mode) == 0o640
    assert capsys.readouterr().err == "1 of 2 files rewritten\n"
    assert run(["fmt", "loose.prototxt"]) == 0
    assert capsys.readouterr().err == "in canonical form already\n"
    assert sorted(os.listdir()) == ["loose.prototxt", "tidy.prototxt"], "nothing is left behind"


@pytest.mark.parametrize("command", [["fmt", "--check"], ["upgrade"]])
def test_a_files_name_does_not_drive_the_terminal(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (folder / "a\x1b[31m.prototxt").write_text(LOOSE)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *args: False)  # as on a terminal
    run([*command, "a\x1b[31m.prototxt"])
    out, err = capfd.readouterr()
    assert "a\\x1b[31m.prototxt" in out + err
    assert "\x1b" not in out + err


def test_check_names_the_files_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", "--check", "loose.prototxt", "tidy.prototxt"]) == 1
    assert capsys.readouterr().out == "loose.prototxt\n"
    assert (folder / "loose.prototxt").read_text() == LOOSE
    assert run(["fmt", "--check", "tidy.prototxt"]) == 0


def test_diff_shows_and_writes_nothing(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["fmt", "--diff", "loose.prototxt"]) == 0
    assert capfdbinary.readouterr().out.decode() == (
        "--- loose.prototxt\n+++ loose.prototxt (rewritten)\n@@ -1,2 +1,2 @@\n"
        "-name:'x'   # n\n-layer{name:'a'}\n+name: \"x\"  # n\n+layer { name: \"a\" }\n"
    )
    assert run(["fmt", "--diff", "--check", "loose.prototxt"]) == 1
    assert (folder / "loose.prototxt").read_text() == LOOSE


def test_stdin_goes_to_stdout(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(LOOSE.encode() + b"# caf\xe9\n")))
    assert run(["fmt", "-"]) == 0
    assert capfdbinary.readouterr().out == TIDY.encode() + b"# caf\xe9\n"


def test_one_bad_file_does_not_stop_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.prototxt").write_text("layer {\n name: \n}\n")
    assert run(["fmt", "bad.prototxt", "missing.prototxt", "loose.prototxt"]) == 66
    said = capsys.readouterr().err
    assert "bad.prototxt:3:1: error[P101]" in said
    assert "error[F101]" in said
    assert (folder / "bad.prototxt").read_text() == "layer {\n name: \n}\n"
    assert (folder / "loose.prototxt").read_text() == TIDY


def test_a_link_stays_a_link(folder: Path) -> None:
    os.symlink("loose.prototxt", "link.prototxt")
    assert run(["fmt", "link.prototxt"]) == 0
    assert os.path.islink("link.prototxt")
    assert (folder / "loose.prototxt").read_text() == TIDY


def test_what_may_not_be_written_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    assert run(["fmt", "loose.prototxt"]) == 73
    assert "error[O151]: cannot be written: it is read-only" in capsys.readouterr().err
    assert (folder / "loose.prototxt").read_text() == LOOSE


def test_a_failed_write_leaves_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert run(["fmt", "loose.prototxt"]) == 74
    assert "error[X166]: the file cannot be written: No space left on device" in capsys.readouterr().err
    assert (folder / "loose.prototxt").read_text() == LOOSE
    assert sorted(os.listdir()) == ["loose.prototxt", "tidy.prototxt"]


def test_a_binary_file_is_no_prototxt(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "net.caffemodel").write_bytes(b"\n\x01x\xa2\x06\x03\n\x01c")
    assert run(["fmt", "net.caffemodel"]) == 65
    assert "error[P105]" in capsys.readouterr().err
