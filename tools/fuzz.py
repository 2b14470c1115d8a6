"""Random inputs for the readers: anything but an answer or a NetcError in two seconds and 500 MB is a finding.

    python -m tools.fuzz text --runs 1000000 --jobs 2          # nets and solvers through the whole compiler
    python -m tools.fuzz binary --runs 10000000 --jobs 2       # .caffemodel, .solverstate, .binaryproto
    python -m tools.fuzz text --engine atheris --seconds 600   # guided by coverage (pip install netc[fuzz])
    python -m tools.fuzz binary --cover                        # the lines that the corpus and 2,000 mutations reach
    python -m tools.fuzz text --minimise --runs 50000          # add to the corpus what reaches further lines

Targets: text, fmt, binary, message (binary nets and solvers), safetensors, npz, hdf5, datum. A finding is written to
fuzz_findings/TARGET/ with the reason beside it; the exit status is 1 if there is one. `--replay FILE` runs one input.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from pathlib import Path

from tools.fuzzing.engine import MAX_INPUT, fuzz, fuzz_in, keep
from tools.fuzzing.guard import Finding, limits, watched
from tools.fuzzing.lines import coverage, minimise
from tools.fuzzing.targets import CORPUS, TARGETS, Target


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--engine", choices=("plain", "atheris"), default="plain")
    parser.add_argument("--findings", type=Path, default=Path("fuzz_findings"))
    parser.add_argument("--replay", type=Path, metavar="FILE")
    parser.add_argument("--cover", action="store_true")
    parser.add_argument("--minimise", action="store_true")
    options = parser.parse_args(arguments)
    target, folder = TARGETS[options.target], options.findings / options.target
    if options.replay:
        return _replay(target, options.replay.read_bytes())
    if options.cover:
        return _cover(target, options.seed)
    if options.minimise:
        return _minimise(target, options.runs, options.seed, folder)
    if options.engine == "atheris":
        return _atheris(target, folder, options)
    stats = fuzz_in(options.jobs, target, options.runs, options.seed, folder, options.seconds)
    report = {"target": options.target, "runs": stats.runs, "seconds": round(stats.seconds, 1)}
    report |= {"runs_per_second": round(stats.runs / max(stats.seconds, 0.001)), "findings": stats.findings}
    report |= {"outcomes": len(stats.outcomes), "most": stats.outcomes.most_common(12)}
    print(json.dumps(report, indent=1))
    return 1 if stats.findings else 0


def _replay(target: Target, data: bytes) -> int:
    with limits():
        try:
            print(watched(target.run, data))
        except Finding as finding:
            print(finding)
            return 1
    return 0


def _cover(target: Target, seed: int) -> int:
    table = coverage(target, [*target.seeds, *_some(target, 2000, seed)])
    for name, (reached, lines) in table.items():
        print(f"{reached:5d} of {lines:5d}  {reached / max(lines, 1):6.1%}  {name}")
    reached, lines = (sum(column) for column in zip(*table.values(), strict=True))
    print(f"{reached:5d} of {lines:5d}  {reached / lines:6.1%}")
    return 0


def _some(target: Target, count: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    return [target.mutate(rng.choice(target.seeds), rng, target.seeds[:1]) for _ in range(count)]


def _minimise(target: Target, runs: int, seed: int, folder: Path) -> int:
    """The corpus anew: what it has, what this run and atheris found, less what reaches no further line."""
    home, found = CORPUS / target.found, list[bytes]()
    old = {path: path.read_bytes() for path in sorted(home.glob("*"))}
    elsewhere = [data for data in target.seeds if data not in old.values()]
    fuzz(target, runs, seed, folder, pool=found)
    found += [path.read_bytes() for path in sorted(folder.glob("atheris/*"))]
    kept = minimise(target, elsewhere, [*old.values(), *found])
    home.mkdir(parents=True, exist_ok=True)
    for path in old:
        path.unlink()
    for data in kept:
        (home / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    print(f"{len(kept)} files, {sum(map(len, kept)):,} bytes in {home}")
    return 0


def _atheris(target: Target, folder: Path, options: argparse.Namespace) -> int:
    """libFuzzer's loop, which ends the process. All functions are instrumented; mutations are ours and its own."""
    import atheris

    atheris.instrument_all()
    corpus = folder / "atheris"
    corpus.mkdir(parents=True, exist_ok=True)
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
        changed = (
            target.mutate(data, rng, [rng.choice(target.seeds)]) if rng.random() < 0.8 else atheris.Mutate(data, most)
        )
        return bytes(changed[:most])

    flags = [f"-max_len={MAX_INPUT}", f"-artifact_prefix={folder}/", "-timeout=20", "-rss_limit_mb=2000"]
    flags += [f"-runs={options.runs}", f"-seed={options.seed}"]
    flags += [f"-max_total_time={int(options.seconds)}"] if options.seconds else []
    atheris.Setup([sys.argv[0], *flags, str(corpus)], run, custom_mutator=mutate)
    with limits():
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
