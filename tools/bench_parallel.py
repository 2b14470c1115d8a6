"""What shards, processes and the exact sum of gradients cost: medians of pairs.

    python tools/bench_parallel.py                  # all three, some minutes
    python tools/bench_parallel.py --only reduction

* shards: a step of one process in 4 shards, against the same in 1, the whole batch.
* processes: a step in 4 shards by 2 processes on two cores, against 1, one thread each.
* reduction: the sum of vgg_E's gradients (575 MB) over 2 processes in a fixed order, against torch's all-reduce by
  buckets of 25 MB (what DistributedDataParallel does).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing

import netc
from netc.runtime.parallel.group import Group, Processes
from netc.runtime.parallel.sums import Sum, finish

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_parallel.py`
from tools.bench_step import netc_step
from tools.nets import random_batch, solver_of
from tools.timing import in_turn, medians, timed

BUCKET = 25 << 20
Pairs = list[tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("shards", "processes", "reduction"))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--numbers", type=int, default=143_667_240, help="of the reduction (default: vgg_E's)")
    parser.add_argument("--models", nargs="*", default=["vgg_A:8", "mini_vgg_E:64"], metavar="NET:BATCH")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for model in options.models if options.only != "reduction" else ():
        name, _, batch = model.partition(":")
        if options.only != "processes":
            _say("4 shards / 1 shard", model, _shards(name, int(batch), options.pairs))
        if options.only != "shards":
            _say("2 processes / 1", model, _processes(name, int(batch), options.pairs))
    if options.only in (None, "reduction"):
        _say("exact sum / torch's", f"{4 * options.numbers >> 20} MiB", _reduction(options.numbers, options.pairs))


def _say(what: str, of: str, times: Pairs) -> None:
    ours, theirs, ratio = medians(times)
    figures = {"first_ms": round(1e3 * ours, 1), "second_ms": round(1e3 * theirs, 1), "ratio_median": round(ratio, 4)}
    print(json.dumps({"what": what, "of": of, **figures, "pairs": len(times)}), flush=True)


def _shards(name: str, batch: int, pairs: int) -> Pairs:
    steps = []
    for shards in (4, 1):
        run = netc.load_solver(solver_of(name, batch), shards=shards)
        steps.append(netc_step(run, random_batch(run.net.graph.shapes["data"])))
        steps[-1]()
    return in_turn(timed(steps[0]), timed(steps[1]), pairs)


def _processes(name: str, batch: int, pairs: int) -> Pairs:
    """Each measurement is the median of 3 steps of processes that are started for it."""

    def measure(count: int) -> Callable[[], float]:
        return lambda: statistics.median(_started(count, _train, name, batch))

    return in_turn(measure(2), measure(1), pairs)


def _train(group: Group, name: str, batch: int) -> list[float]:
    run = netc.load_solver(solver_of(name, batch), shards=4, group=group)
    step = timed(netc_step(run, random_batch(run.net.graph.shapes["data"])))
    return [step() for _ in range(4)][1:]


def _reduction(numbers: int, pairs: int) -> Pairs:
    found: Pairs = _started(2, _sum_up, numbers, pairs)
    return found


def _sum_up(group: Group, numbers: int, pairs: int) -> Pairs:
    pieces = [numbers // 8] * 7 + [numbers - numbers // 8 * 7]
    gradients = [torch.randn(size) for size in pieces]
    flat = torch.cat(gradients)

    def exact() -> None:
        total = Sum(2)
        total.add(group.rank, [gradient.clone() for gradient in gradients])
        dist.barrier()
        finish(total, group)

    def fast() -> None:
        summed = flat.clone()
        dist.barrier()
        for work in [dist.all_reduce(part, async_op=True) for part in summed.split(BUCKET // 4)]:
            work.wait()

    exact()
    fast()
    return in_turn(timed(exact), timed(fast), pairs)


# -- processes ---------------------------------------------------------------------------------------------------------


def _started(count: int, work: Any, *arguments: Any) -> Any:
    """What `work(group, …)` gives on rank 0 of so many processes."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
        free.close()
        task = (count, port, str(Path(folder, "result")), work, arguments)
        spawn: Any = torch.multiprocessing.spawn  # type: ignore[attr-defined]
        spawn(_worker, task, count)
        return torch.load(Path(folder, "result"))


def _worker(rank: int, count: int, port: int, result: str, work: Any, arguments: Any) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    group = Processes() if count > 1 else Group()
    try:
        found = work(group, *arguments)
    finally:
        group.close()
    if rank == 0:
        torch.save(found, result)


if __name__ == "__main__":
    main()
