"""Training step of netc against the same step hand-written in torch: ratio of times, paired, medians.

    python tools/bench_step.py                                        # vgg_A of 8 and mini_vgg_E of 64
    python tools/bench_step.py --model mini_vgg_A --batch 64 --pairs 15

Both sides get the same random images and labels, start from the same weights, and do forward, backward and the SGD
update with momentum and weight decay (dropout included). The order within a pair alternates, so that a drift of the
machine favours neither. The torch side is an nn.Sequential with in-place ReLU: once with what is fastest (fused SGD,
channels-last, autocast in bf16), once with torch's defaults in float32.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import netc
from netc.runtime.net.module import Net

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_step.py`
from tools.baseline_torch import vgg
from tools.nets import random_batch, solver_of
from tools.timing import in_turn, medians, timed

Step = Callable[[], float]

LINES = (("vgg_A", 8, 5), ("mini_vgg_E", 64, 11))
"""Net, batch, pairs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder of models/")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="one of the two (default: both)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = LINES if options.model is None else ((options.model, options.batch, options.pairs or 7),)
    for model, batch, pairs in lines:
        for precision in ("fp32", "bf16") if options.precision is None else (options.precision,):
            for kind in ("best", "default"):
                found = _line(model, batch, precision, kind, options.pairs or pairs)
                print(json.dumps({"model": model, "batch": batch, "threads": options.threads, **found}), flush=True)


def _line(model: str, size: int, precision: str, kind: str, pairs: int) -> dict[str, Any]:
    run = netc.load_solver(solver_of(model, size), precision=precision)
    batch = random_batch(run.net.graph.shapes["data"])
    best = kind == "best"
    ours = netc_step(run, batch)
    theirs = torch_step(model, run.net, batch, precision if best else "fp32", best)
    for warm in (ours, theirs, ours, theirs):
        warm()
    times = in_turn(timed(ours), timed(theirs), pairs)
    netc_s, torch_s, ratio = medians(times)
    ratios = [a / b for a, b in times]
    return {
        "netc": precision,
        "torch": f"{precision}, channels-last, fused" if best else "fp32, torch's defaults",
        "netc_ms": round(1e3 * netc_s, 2),
        "torch_ms": round(1e3 * torch_s, 2),
        "ratio_median": round(ratio, 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_max": round(max(ratios), 4),
        "pairs": pairs,
    }


def netc_step(run: Any, batch: dict[str, Tensor]) -> Step:
    return lambda: float(run.step(1, feed=lambda k: batch))


def torch_step(name: str, net: Net, batch: dict[str, Tensor], precision: str, best: bool) -> Step:
    """The same topology as an nn.Sequential, with the same initial weights. `best`: with what torch has for speed."""
    data, target = batch["data"], batch["label"].long()
    small, _, letter = name.partition("vgg_")
    model = vgg(letter, 4 if small else 1, data.shape[2], len(net.params["fc8"][1]))
    with torch.no_grad():
        for layer, (weight, bias) in net.params.items():
            module = getattr(model, layer)
            module.weight.copy_(weight)
            module.bias.copy_(bias)
    if best:
        channels_last: Any = {"memory_format": torch.channels_last}
        model, data = model.to(**channels_last), data.to(**channels_last)
    return loop(model.to(data.device), data, target, precision, best)


def loop(model: nn.Module, data: Tensor, target: Tensor, precision: str, fused: bool) -> Step:
    """A training step as users of torch write it."""
    loss_of = nn.CrossEntropyLoss()
    fused_option: Any = {"fused": True} if fused else {}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, **fused_option)

    def step() -> float:
        optimiser.zero_grad()
        with torch.autocast(data.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = loss_of(model(data), target)
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


if __name__ == "__main__":
    main()
