"""Memory that blobs had is kept: counted in page faults, which do not depend on the machine's speed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys, threading
from netc.runtime.net.heap import keep_heap

def use():
    for _ in range(4):
        b"x" * (48 << 20)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_heap()
faults()
print(faults())
"""
PAGES = 12 << 10
"""Of one blob."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize("own, kept", [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_blobs_take_the_memory_that_others_had(own: dict[str, str], kept: bool) -> None:
    """Also in a thread; settings of the user's own stay."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=given | own, timeout=120)
    assert done.returncode == 0, done.stderr
    if kept:
        assert int(done.stdout) < PAGES / 4
    else:
        assert int(done.stdout) > 3 * PAGES
