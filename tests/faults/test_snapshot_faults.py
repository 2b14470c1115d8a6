"""A snapshot is killed, or the disk fails, at each of its system calls: a whole snapshot always remains."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest

from netc import proto, weights
from netc.errors import NetcError
from netc.runtime.solver import snapshot

HARMLESS = {"mmap", "munmap", "brk", "madvise", "futex", "exit_group", "getpid", "gettid", "rt_sigaction", "getrandom"}
"""Calls of the interpreter itself; failing them tests Python and the C library."""


def save(prefix, iteration, size=30_000):
    """Iteration and values go together: values are those of `expected`."""
    net = proto.NetParameter(name="tiny", layer=[{"name": "conv", "type": "X"}, {"name": "fc", "type": "X"}])
    arrays = expected(iteration, size)
    return snapshot.save(prefix, iteration, net, arrays, [array * -1 for array in arrays["fc"]], 0, {"seed": iteration})


def expected(iteration, size=30_000):
    rng = np.random.default_rng(iteration)
    return {"conv": [rng.random((2, 3), "float32")], "fc": [rng.random(size, "float32"), rng.random(5, "float32")]}


def assert_whole(prefix, among):
    """The newest snapshot is whole, and bit for bit what was saved at that iteration."""
    found = snapshot.latest(prefix)
    assert found is not None
    assert found.iteration in among
    values = expected(found.iteration)
    read = weights.read(found.weights)
    assert all(np.array_equal(a, b) for name in values for a, b in zip(read[name], values[name], strict=True))
    assert all(np.array_equal(a, -b) for a, b in zip(found.history, values["fc"], strict=True))
    assert found.extras == {"seed": found.iteration}
    return found.iteration


def break_at(traced, folder, call, how):
    """Save 1, break the saving of 2 at `call`, and see what is left; then saving 2 works and tidies up."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    save(folder / "run", 1)
    name, nth = call
    outcome = traced(lambda: save(folder / "run", 2), f"{name}:{how}:when={nth}")
    left = assert_whole(folder / "run", {1, 2})
    assert outcome.status in ((-9,) if "SIGKILL" in how else (0, 3)), (call, how)
    if outcome.status == 0:
        assert left == 2, (call, how)
    save(folder / "run", 2)
    assert assert_whole(folder / "run", {2}) == 2
    assert not [name for name in os.listdir(folder) if ".tmp-" in name]
    return left


@pytest.fixture
def calls(traced, tmp_path):
    save(tmp_path / "run", 1)
    outcome = traced(lambda: save(tmp_path / "run", 2))
    assert outcome.status == 0
    names = [name for name, _ in outcome.calls]
    assert names.count("fsync") == 5
    assert names.count("rename") == 3
    return outcome.calls


def test_killed_before_the_calls_that_matter(traced, calls, tmp_path):
    """Before each file is flushed, before and after each gets its name."""
    some = [call for call in calls if call[0] in ("fsync", "rename")] + calls[-2:-1]
    left = [break_at(traced, tmp_path / "k", call, "signal=SIGKILL") for call in some]
    assert left == [1] * 7 + [2, 2]


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_failing_at_some_calls(traced, calls, tmp_path, error):
    for call in [call for call in calls if call[0] not in HARMLESS][::4]:
        break_at(traced, tmp_path / "e", call, f"error={error}")


@pytest.mark.slow
def test_killed_before_each_call(traced, calls, tmp_path):
    left = [break_at(traced, tmp_path / "k", call, "signal=SIGKILL") for call in calls if call[0] != "exit_group"]
    last_rename = max(index for index, (name, _) in enumerate(calls) if name == "rename")
    assert left == [1] * (last_rename + 1) + [2] * (len(left) - last_rename - 1)


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_failing_at_each_call(traced, calls, tmp_path, error):
    tried = [break_at(traced, tmp_path / "e", call, f"error={error}") for call in calls if call[0] not in HARMLESS]
    assert len(tried) > 20


def test_what_is_said_when_the_disk_is_full(tmp_path):
    """A file system of 400 KiB, filled by the second snapshot (root only)."""
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", tmp_path]).returncode:
        pytest.skip("mounting needs root")
    try:
        save(tmp_path / "run", 1)
        with pytest.raises(NetcError) as caught:
            save(tmp_path / "run", 2)
        assert (caught.value.code, caught.value.exit_status) == ("X701", 74)
        assert "are free" in caught.value.message
        assert assert_whole(tmp_path / "run", {1}) == 1
        assert len(os.listdir(tmp_path)) == 3
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.slow
def test_a_disk_of_every_size(tmp_path, monkeypatch):
    """From nothing to enough, in steps of 4 KiB, without the check beforehand: it may be out of date when it counts."""
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", tmp_path]).returncode:
        pytest.skip("mounting needs root")
    monkeypatch.setattr(snapshot, "require_room", lambda folder, need: None)
    saved = []
    try:
        for size in range(4, 300, 4):
            subprocess.run(["mount", "-o", f"remount,size={size}k", tmp_path], check=True)
            try:
                save(tmp_path / "run", 1)
                saved.append(size)
            except NetcError as error:
                if error.code != "X701" or os.listdir(tmp_path):
                    raise
            else:
                assert_whole(tmp_path / "run", {1})
                for path in tmp_path.iterdir():
                    path.unlink()
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert saved == list(range(saved[0], 300, 4))


def test_read_only_folder(tmp_path):
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path]).returncode:
        pytest.skip("mounting needs root")
    try:
        save(tmp_path / "run", 1)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        with pytest.raises(NetcError) as caught:
            save(tmp_path / "run", 2)
        assert (caught.value.code, caught.value.exit_status) == ("O701", 73)
        assert assert_whole(tmp_path / "run", {1}) == 1
    finally:
        subprocess.run(["umount", tmp_path], check=True)
