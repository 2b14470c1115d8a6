"""What the walk over a net's layers costs, beside the same calls of their functions in a row.

    python tools/bench_walk.py --threads 1 --rounds 60

On torch's device "meta" nothing is computed, so all that takes time is Python and torch's own calls: the difference of
the two is the walk. It is given for a layer, and as a share of the net's pass on the CPU. Also what MAX pooling's look
for NaN, which a CPU's passes have, is of that. The zoo lies in ../shared (or NETC_SHARED).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_walk.py`
import netc
from tools.bench_inference import NETS, files
from tools.timing import in_turn, timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["googlenet"], choices=list(NETS))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.nets:
        with tempfile.TemporaryDirectory(prefix="netc-bench-") as folder:
            report(name, options.rounds, Path(folder))


def report(name: str, rounds: int, folder: Path) -> None:
    path, weights = files(name, 1, folder)
    net = netc.load_net(str(path), weights=str(weights))
    x = torch.rand(1, *net.graph.shapes[net.inputs[0]][1:]) * 2 - 1
    whole = _median([_pass(net, x)() for _ in range(5)])
    tops = [value for _, value in _pooled(net, x)]
    looked = _median([timed(lambda: [float(top.sum()) for top in tops], time.process_time)() for _ in range(9)])
    net, x = net.to("meta"), x.to("meta")
    pairs = in_turn(_pass(net, x), _pass(same_calls(net), x), rounds)
    walk = _median([ours for ours, _ in pairs]) - _median([theirs for _, theirs in pairs])
    layers = len(net.graph.nodes)
    print(f"{name}: {layers} layers, {1e3 * whole:.1f} ms of the processor a pass, batch 1")
    print(
        f"  the walk: {1e3 * walk:.2f} ms, {1e6 * walk / layers:.1f} µs a layer, {100 * walk / whole:.2f} % of the pass"
    )
    print(f"  MAX pooling's sums: {1e3 * looked:.2f} ms, {100 * looked / whole:.2f} % of the pass")


def same_calls(net: Any) -> Callable[[Any], dict[str, Any]]:
    """The layers' functions with their parameters at hand, as a person would write them one below the other."""
    calls = []
    for step, _, over in net._whole.steps:
        layer = step.node.layer
        calls.append((layer.forward_in_place if over else layer.forward, step.values(), step.node.bottoms, step.tops))

    def run(x: Any) -> dict[str, Any]:
        values = {net.inputs[0]: x}
        for function, params, bottoms, tops in calls:
            values.update(zip(tops, function(net.run, [values[b] for b in bottoms], params)))
        return values

    return run


def _pass(module: Any, x: Any) -> Callable[[], float]:
    def run() -> None:
        with torch.no_grad():
            module(x)

    run()
    return timed(run, time.process_time)


def _pooled(net: Any, x: Any) -> list[tuple[str, Any]]:
    tops = [node.tops[0] for node in net.graph.nodes if "pooling_param" in str(node.layer.param)]
    return list(net(x, blobs=tops).items())


def _median(values: list[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    main()
