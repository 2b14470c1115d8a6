"""A process that saves one snapshot, and strace to break any of its system calls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from netc.errors import NetcError

STRACE = shutil.which("strace")
MARK = "/netc-begins-here"


class Outcome(NamedTuple):
    status: int
    """0 done, 3 refused with a NetcError, 4 any other exception, -9 killed."""
    calls: list[tuple[str, int]]
    """The system calls made, in order: name, and how often it has been made (what strace's `when=` counts)."""


@pytest.fixture(scope="session")
def traced() -> Callable[..., Outcome]:
    """traced(action, inject): run `action()` in a forked child under strace, with the injection if one is given."""
    if STRACE is None:
        pytest.skip("strace is not installed")
    if _run(lambda: None).status != 0:
        pytest.skip("this system does not let one process trace another")
    return _run


def _run(action: Callable[[], object], inject: str = "") -> Outcome:
    ready, report = os.pipe()
    start, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)  # so that the child ends if this process does
        _child(action, report, start)
    os.close(start)
    os.read(ready, 1)  # the child makes no call from here to `go`, so that strace counts the same ones each time
    for end in (ready, report):
        os.close(end)
    log = Path(f"/tmp/netc-strace-{child}")
    command = [str(STRACE), "-p", str(child), "-o", str(log), *(["-e", f"inject={inject}"] if inject else [])]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: _tracer(child) != 0 or tracer.poll() is not None)
        os.write(go, b"x")
        os.close(go)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        tracer.wait(30)
        return Outcome(status, _calls(log.read_text()) if log.exists() else [])
    finally:
        tracer.kill()
        tracer.wait()
        log.unlink(missing_ok=True)


def _child(action: Callable[[], object], report: int, start: int) -> None:
    status = 4
    try:
        os.write(report, b"x")
        os.read(start, 1)
        os.path.exists(MARK)
        action()
        status = 0
    except NetcError:
        status = 3
    finally:
        os._exit(status)


def _wait_for(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.002)


def _tracer(process: int) -> int:
    match = re.search(r"TracerPid:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(match[1]) if match else 0


def _calls(log: str) -> list[tuple[str, int]]:
    """The calls after the marker that the child sets before it acts."""
    counts: Counter[str] = Counter()
    calls: list[tuple[str, int]] = []
    for name, rest in re.findall(r"^(?:\d+ )?(\w+)\((.*)", log, re.MULTILINE):
        counts[name] += 1
        calls = [] if MARK in rest else [*calls, (name, counts[name])]
    return calls
