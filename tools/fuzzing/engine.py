"""The plain engine: seeded mutations in as many processes as wanted. What has a new outcome is mutated further.

Each process writes its input to shared memory before it runs it: one that dies, or hangs in C code, has left it there.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import select
import signal
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tools.fuzzing.guard import Finding, limits, watched
from tools.fuzzing.targets import Target

MAX_INPUT = 1 << 16
"""Longest input; mutations double things."""

MAX_POOL, MAX_OUTCOMES = 4000, 100_000
HEAD = 16
"""Bytes of the shared memory before the input: how many were run, how long this one is."""

PATIENCE = 30.0
"""Seconds with one input after which a process counts as hanging."""


@dataclass
class Stats:
    runs: int = 0
    seconds: float = 0.0
    findings: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, other: Stats) -> None:
        self.runs, self.findings = self.runs + other.runs, self.findings + other.findings
        self.seconds = max(self.seconds, other.seconds)
        self.outcomes += other.outcomes


def fuzz(
    target: Target,
    runs: int,
    seed: int,
    folder: Path | None = None,
    seconds: float | None = None,
    slot: mmap.mmap | None = None,
    pool: list[bytes] | None = None,
) -> Stats:
    """Run `runs` inputs, fewer if `seconds` are over. Findings go to `folder`, or are raised where there is none; what
    had a new outcome goes to `pool`."""
    rng = random.Random(seed)
    pool = [] if pool is None else pool
    pool += target.seeds
    stats, start = Stats(), time.monotonic()
    with limits():
        while stats.runs < runs and (seconds is None or time.monotonic() - start < seconds):
            fresh = stats.runs < len(pool) and stats.runs < len(target.seeds)
            data = pool[stats.runs] if fresh else _child(target, pool, rng)
            stats.runs += 1
            if slot is not None:
                slot[: HEAD + len(data)] = stats.runs.to_bytes(8, "little") + len(data).to_bytes(8, "little") + data
            try:
                outcome = watched(target.run, data)
            except Finding as finding:
                if folder is None:
                    raise
                stats.findings += 1
                keep(folder, data, str(finding))
                continue
            if outcome not in stats.outcomes and len(stats.outcomes) >= MAX_OUTCOMES:
                outcome = "others"
            elif outcome not in stats.outcomes and not fresh:
                _remember(pool, data, len(target.seeds), rng)
            stats.outcomes[outcome] += 1
    stats.seconds = time.monotonic() - start
    return stats


def _child(target: Target, pool: list[bytes], rng: random.Random) -> bytes:
    data = rng.choice(pool)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
        data = target.mutate(data, rng, [rng.choice(pool)])
    return data[:MAX_INPUT]


def _remember(pool: list[bytes], data: bytes, first: int, rng: random.Random) -> None:
    if len(pool) < MAX_POOL:
        pool.append(data)
    else:
        pool[rng.randrange(first, MAX_POOL)] = data


def keep(folder: Path, data: bytes, why: str) -> None:
    """Write an input down, once, with the reason beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(data).hexdigest()[:16]
    (folder / name).write_bytes(data)
    (folder / f"{name}.why").write_text(why)


# -- several processes -------------------------------------------------------------------------------------------------


def fuzz_in(jobs: int, target: Target, runs: int, seed: int, folder: Path, seconds: float | None) -> Stats:
    """The same in `jobs` processes, whose deaths are findings too."""
    total = Stats()
    children = [_Child(target, runs // jobs, seed * 1000 + job, folder, seconds) for job in range(jobs)]
    for child in children:
        total.add(child.result())
    return total


class _Child:
    """A forked process that fuzzes; its statistics come back through a pipe."""

    def __init__(self, target: Target, runs: int, seed: int, folder: Path, seconds: float | None) -> None:
        self.folder, self.slot = folder, mmap.mmap(-1, HEAD + MAX_INPUT)
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                stats = fuzz(target, runs, seed, folder, seconds, self.slot)
                with os.fdopen(writing, "w") as answer:
                    json.dump(vars(stats), answer)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writing)
        self.pipe = os.fdopen(reading, "rb")

    def result(self) -> Stats:
        while not select.select([self.pipe], [], [], PATIENCE)[0]:
            if self._stands_still():
                os.kill(self.pid, signal.SIGKILL)
        answer = self.pipe.read()
        _, status = os.waitpid(self.pid, 0)
        if not status:
            return Stats(**{**json.loads(answer), "outcomes": Counter(json.loads(answer)["outcomes"])})
        size = int.from_bytes(self.slot[8:HEAD], "little")
        keep(self.folder, self.slot[HEAD : HEAD + size], f"the process ended with status {status}")
        return Stats(int.from_bytes(self.slot[:8], "little"), findings=1)

    def _stands_still(self) -> bool:
        before = self.slot[:8]
        time.sleep(PATIENCE)
        return before == self.slot[:8]
