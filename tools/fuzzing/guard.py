"""One input under watch: another exception than the expected one, two seconds or half a gigabyte are a finding."""

from __future__ import annotations

import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SECONDS = 2.0
"""Processor time that one input may take."""

MEGABYTES = 500
"""Memory that the process may take beyond what it has when it starts."""

Run = Callable[[bytes], str]
"""Gives an input to the reader; returns what came of it ("ok", an error's code), raises what should never be raised."""


class Finding(Exception):
    """What a reader must not do; the text says what it did, with the traceback."""


class _TooSlow(BaseException):
    """Not an Exception: no `except Exception` of the reader may swallow it."""


def watched(run: Run, data: bytes) -> str:
    """The outcome of `run`. Raises Finding."""
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        outcome = run(data)
    except _TooSlow:
        raise Finding(f"took more than {SECONDS} s\n{traceback.format_exc()}") from None
    except Exception:
        raise Finding(traceback.format_exc()) from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if (took := time.process_time() - start) > SECONDS:  # inside C code no signal is handled
        raise Finding(f"took {took:.1f} s")
    return outcome


@contextmanager
def limits() -> Iterator[None]:
    """Within it `watched` stops what takes too long, and memory ends MEGABYTES above what is in use now."""
    before = signal.signal(signal.SIGPROF, _stop)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (MEGABYTES << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGPROF, before)


def _stop(number: int, frame: Any) -> None:
    raise _TooSlow
