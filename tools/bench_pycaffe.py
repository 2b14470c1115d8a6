"""What pycaffe's blobs cost: `net.forward()` of caffe.Net beside the call of the same net by netc.load_net.

    python -m tools.bench_pycaffe DEPLOY.prototxt [--runs 40] [--batch 1]

The two take turns; the figure is the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import netc
import netc.pycaffe as caffe
from netc.runtime.net.load import load_net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    mine, direct = _both(options.net, options.batch)
    pairs = [(_timed(mine), _timed(direct)) for _ in range(options.runs + 3)][3:]
    ratio = statistics.median(a / b for a, b in pairs)
    milliseconds = [1000 * statistics.median(column) for column in zip(*pairs)]
    print(f"netc {netc.__version__}, torch {torch.__version__}, {options.net}, batch {options.batch}")
    print(f"caffe.Net {milliseconds[0]:.2f} ms, load_net {milliseconds[1]:.2f} ms, median of the ratios {ratio:.3f}")


def _both(path: str, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    ours, plain = caffe.Net(path, caffe.TEST), load_net(path)
    name = ours.inputs[0]
    shape = (batch, *ours.blobs[name].shape[1:])
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    ours.blobs[name].reshape(*shape)
    x = torch.from_numpy(values)

    def run() -> object:
        ours.blobs[name].data[...] = values
        return ours.forward()

    return run, lambda: plain(x)


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
