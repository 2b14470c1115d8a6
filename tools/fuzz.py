"""Random inputs for the readers: anything but an answer or a NetcError in two seconds and 500 MB is a finding.

    python -m tools.fuzz text --runs 1000000        # nets and solvers through the whole compiler
    python -m tools.fuzz binary --seconds 600       # .caffemodel, .solverstate, .binaryproto
    python -m tools.fuzz text --replay FILE         # one input

Targets: text, fmt, binary, message (binary nets and solvers), safetensors, npz, hdf5, datum, lmdb, leveldb (the files
of its folder in a row), lists, windows (WindowData's files), hdf5data, metrics, manifests, cards. All start from the
files in tests/fuzz/corpus, or from small ones that are made. Where atheris is installed (`pip install netc[fuzz]`), it
guides the changes by coverage and stops at the first finding; `--engine plain` changes further what had a new outcome,
and goes on. A finding is written to fuzz_findings/TARGET/ with the reason beside it; if there is one, the exit status
is not 0. To use several cores, start the command several times with different seeds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from tools.fuzzing.guard import Finding, limits, watched
from tools.fuzzing.targets import TARGETS, Target

MAX_INPUT = 1 << 16
"""Longest input; mutations double things."""

MAX_POOL = 4000
PATIENCE = 30.0
"""Seconds with one input after which the process ends: it hangs in C code, where nothing else stops it."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=10**9, help="stop after this time")
    parser.add_argument("--seed", type=int, default=1)
    engines = ("atheris", "plain") if find_spec("atheris") else ("plain",)
    parser.add_argument("--engine", choices=engines, default=engines[0])
    parser.add_argument("--findings", type=Path, default=Path("fuzz_findings"))
    parser.add_argument("--replay", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    target, folder = TARGETS[options.target], options.findings / options.target
    if options.replay:
        return _replay(target, options.replay.read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    if options.engine == "atheris":
        return _atheris(target, folder, options)
    outcomes = fuzz(target, options.runs, options.seed, folder, options.seconds)
    report = {"target": options.target, "runs": outcomes.total(), "findings": outcomes["finding"]}
    print(json.dumps(report | {"outcomes": len(outcomes), "most": outcomes.most_common(12)}, indent=1))
    return 1 if outcomes["finding"] else 0


def _replay(target: Target, data: bytes) -> int:
    with limits():
        try:
            print(watched(target.run, data))
        except Finding as finding:
            print(finding)
            return 1
    return 0


def fuzz(target: Target, runs: int, seed: int, folder: Path | None = None, seconds: int = 10**9) -> Counter[str]:
    """How often each outcome came of the seeds and of random changes of them. Findings are written to `folder`, or
    raised where there is none."""
    rng, pool, outcomes = random.Random(seed), list(target.seeds), Counter[str]()
    end = time.monotonic() + seconds
    with limits():
        for run in range(runs):
            if time.monotonic() > end:
                break
            fresh = run < len(target.seeds)
            data = pool[run] if fresh else _changed(target, pool, rng)
            outcome = _kept(target, data, folder, seed) if folder else watched(target.run, data)
            if not fresh and outcome not in outcomes and len(pool) < MAX_POOL:
                pool.append(data)
            outcomes[outcome] += 1
    return outcomes


def _changed(target: Target, pool: list[bytes], rng: random.Random) -> bytes:
    data = rng.choice(pool)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
        data = target.mutate(data, rng.choice(pool), rng)
    return data[:MAX_INPUT]


def _kept(target: Target, data: bytes, folder: Path, seed: int) -> str:
    """The outcome. While the input runs it lies in `folder`, where it stays if the process dies or is ended."""
    running = folder / f"running.{seed}"
    running.write_bytes(data)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        return watched(target.run, data)
    except Finding as finding:
        keep(folder, data, str(finding))
        return "finding"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        running.unlink()


def keep(folder: Path, data: bytes, why: str) -> None:
    """Write an input down, once, with the reason beside it."""
    name = hashlib.sha256(data).hexdigest()[:16]
    (folder / name).write_bytes(data)
    (folder / f"{name}.why").write_text(why)


def _atheris(target: Target, folder: Path, options: argparse.Namespace) -> int:
    """libFuzzer's loop, which ends the process. All functions are instrumented; mutations are ours and its own."""
    import atheris

    atheris.instrument_all()
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for data in target.seeds:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def run(data: bytes) -> None:
        try:
            watched(target.run, data)
        except Finding as finding:
            keep(folder, data, str(finding))
            raise

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        ours = rng.random() < 0.8
        return bytes(target.mutate(data, rng.choice(target.seeds), rng) if ours else atheris.Mutate(data, most))[:most]

    flags = [f"-max_len={MAX_INPUT}", f"-artifact_prefix={folder}/", "-timeout=20", "-rss_limit_mb=2000"]
    flags += [f"-runs={options.runs}", f"-seed={options.seed}", f"-max_total_time={options.seconds}"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], run, custom_mutator=mutate)
    with limits():
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
