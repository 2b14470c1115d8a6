"""The frame of the command line: quick help, lazy commands, Caffe's spellings, one place for every error."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest

from netc.cli import _main, _status
from netc.cli._gflags import from_gflags
from netc.cli._options import gpus_of
from netc.errors import NetcError, Place

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "numpy", "lark", "google.protobuf", "rich", "lmdb", "PIL")
NAMES = [name for group in _main.COMMANDS.values() for name in group]


def python(code: str, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *args], cwd=ROOT, capture_output=True, text=True, **options)


def netc(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return python("import sys; from netc.cli import main; sys.exit(main())", *args, **options)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Gives netc a command "fake" that calls a function."""

    def make(function: Callable[[], object]) -> None:
        module = ModuleType("netc.cli.fake")
        module.command = click.Command("fake", callback=function)
        monkeypatch.setitem(sys.modules, "netc.cli.fake", module)
        monkeypatch.setitem(_main.MODULES, "fake", "netc.cli.fake")

    return make


def raising(error: BaseException) -> Callable[[], object]:
    def function() -> object:
        raise error

    return function


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    code = f"import sys; from netc.cli import main; main(); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = python(code, option)
    assert done.stdout.splitlines()[-1] == "[]"


def test_loading_every_command_imports_nothing_heavy() -> None:
    code = f"""
import sys
from netc.cli import _main
for name in _main.MODULES: _main.load(name)
print([m for m in {HEAVY!r} if m in sys.modules])"""
    assert python(code).stdout.strip() == "[]"


def test_help_answers_at_once() -> None:
    """In a tenth of a second of processor time (tools/bench_start.py); the limit is one that a busy machine keeps."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    netc("--help", check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_every_command_is_a_file_and_every_file_a_command() -> None:
    files = {path.stem for path in (ROOT / "netc/cli").glob("[!_]*.py")}
    assert files == {name.replace("-", "_") for name in NAMES}


def test_the_table_has_a_short_line_for_each() -> None:
    lines = [line for group in _main.COMMANDS.values() for line in group.values()]
    assert all(line.endswith(".") and len(line) <= 70 for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_with_every_option_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main.run([name, "--help"]) == 0
    assert f"Usage: netc {name}" in capsys.readouterr().out
    options = [param for param in _main.load(name).params if isinstance(param, click.Option) and not param.hidden]
    assert [option.opts for option in options if not option.help] == []


@pytest.mark.parametrize("name", NAMES)
def test_underscores_and_dashes_are_the_same(name: str) -> None:
    assert _main.load(name.replace("-", "_")) is _main.load(name.replace("_", "-")) is not None


def test_the_nearest_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main.run(["device_qery"]) == 2
    assert 'there is no command "device_qery"; did you mean "device_query"?' in capsys.readouterr().err


def test_no_command_shows_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main.run([]) == 2
    assert "Exit status: 0 done" in capsys.readouterr().err


PARAMS = [
    click.Option(["--solver"]),
    click.Option(["--sigint-effect", "-s"]),
    click.Option(["--gray"], is_flag=True),
    click.Option(["--shuffle/--no-shuffle"], default=True),
    click.Argument(["file"]),
]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("-solver a", "--solver a"),
        ("-solver=a", "--solver=a"),
        ("--solver=a -sigint_effect stop", "--solver=a --sigint_effect stop"),
        ("-s stop", "-s stop"),
        ("-gray x", "--gray x"),
        ("--gray=true --gray=1", "--gray --gray"),
        ("--gray=false", ""),
        ("--nogray x", "x"),
        ("--noshuffle --shuffle=false", "--no-shuffle --no-shuffle"),
        ("--no-shuffle", "--no-shuffle"),
        ("--gray=maybe", "--gray=maybe"),
        ("--solver -gray", "--solver -gray"),
        ("--solver", "--solver"),
        ("-- -solver a", "-- -solver a"),
        ("-unknown=3 -5", "--unknown=3 -5"),
    ],
)
def test_gflags_spellings(written: str, read: str) -> None:
    assert from_gflags(written.split(), PARAMS) == read.split()


def test_underscores_in_options_reach_click() -> None:
    seen = []
    command = click.Command("x", params=[click.Option(["--sigint-effect"])], callback=lambda **k: seen.append(k))
    context = {"token_normalize_func": _main.normal}
    for spelling in ("--sigint_effect=stop", "--sigint-effect=stop"):
        command.main([spelling], standalone_mode=False, **context)
    assert seen == [{"sigint_effect": "stop"}] * 2


OOM = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (NetcError("S201", "no field", Place("a.prototxt", 3, 5)), 65, "a.prototxt:3:5: error[S201]: no field"),
        (NetcError("F101", "no file"), 66, "error[F101]: no file"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.lmdb"), 66, "a.lmdb: error[F900]: No such file"),
        (PermissionError(errno.EACCES, "Permission denied", b"out"), 73, "out: error[O900]: Permission denied"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            74,
            "error[X900]: No space left on device\n  help: the disk",
        ),
        (OSError(errno.EIO, "Input/output error", "x"), 74, "x: error[X900]: Input/output error"),
        (MemoryError(), 1, "netc: out of memory: MemoryError\n  help: a smaller batch_size"),
        (RuntimeError(OOM), 1, "netc: out of memory: RuntimeError: [enforce fail]"),
        (ZeroDivisionError("a\nb"), 1, "netc: internal error: ZeroDivisionError: a (test_frame.py:"),
        (KeyboardInterrupt(), 130, "netc: interrupted"),
        (click.UsageError("both given"), 2, "Usage: netc fake"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (SystemExit(75), 75, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("no"), 1, "no"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_is_a_message_and_a_status(fake, capsys, error: BaseException, status: int, said: str) -> None:
    fake(raising(error))
    assert _main.run(["fake"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said) if said else err == ""
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [["--debug", "fake"], ["fake", "--debug"]])
@pytest.mark.parametrize("error", [NetcError("S201", "no field"), ZeroDivisionError("zero")])
def test_debug_shows_the_traceback(fake, capsys, words: list[str], error: Exception) -> None:
    fake(raising(error))
    assert _main.run(words) in (65, 1)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "status"), [(None, 0), (75, 75), (0, 0)])
def test_a_commands_value_is_its_status(fake, value: int | None, status: int) -> None:
    fake(lambda: value)
    assert _main.run(["fake"]) == status


@pytest.mark.parametrize(("no_color", "color"), [("1", False), ("", None)])
def test_no_color(fake, monkeypatch: pytest.MonkeyPatch, no_color: str, color: bool | None) -> None:
    seen = []
    fake(lambda: seen.append(click.get_current_context().color))
    monkeypatch.setenv("NO_COLOR", no_color)
    _main.run(["fake"])
    assert seen == [color]


WAITS = """
import signal, sys, time, types, click
from netc.cli import _main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background has it ignored
def wait():
    try: print("ready", flush=True); time.sleep(30)
    finally: print("tidied", flush=True)
sys.modules["netc.cli.fake"] = types.SimpleNamespace(command=click.Command("fake", callback=wait))
_main.MODULES["fake"] = "netc.cli.fake"
sys.exit(_main.run(["fake"]))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_unwinds_and_sets_the_status(number: signal.Signals, status: int) -> None:
    command = [sys.executable, "-c", WAITS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (status, "tidied\n")
    assert "Traceback" not in err


def test_a_closed_pipe_is_silent() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        code = "import sys; from netc.cli import main; sys.exit(main())"
        done = subprocess.run([sys.executable, "-c", code, "--help"], cwd=ROOT, stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (_status.BROKEN_PIPE, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_said_once() -> None:
    code = "import sys; from netc.cli import main; sys.exit(main())"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code, "--help"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 74
    assert done.stderr.decode().splitlines()[0] == "error[X900]: No space left on device"
    assert len(done.stderr.splitlines()) == 2


def test_module_and_script_are_the_same() -> None:
    done = subprocess.run([sys.executable, "-m", "netc", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("netc 0.")
    assert netc("--version").stdout == done.stdout


@pytest.mark.parametrize(
    ("text", "count", "numbers"), [("all", 3, [0, 1, 2]), ("ALL", 0, []), ("1,0", 2, [1, 0]), ("0,0", 1, [0])]
)
def test_gpu_lists(text: str, count: int, numbers: list[int]) -> None:
    assert gpus_of(text, count) == numbers


@pytest.mark.parametrize(("text", "code"), [("2", "C201"), ("-1", "C201"), ("x", "C202"), ("", "C202")])
def test_gpu_lists_that_cannot_be(text: str, code: str) -> None:
    with pytest.raises(NetcError) as caught:
        gpus_of(text, 2)
    assert caught.value.code == code
