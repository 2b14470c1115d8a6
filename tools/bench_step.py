"""Training step of netc against the same step hand-written in torch: ratio of times, paired, medians.

    python tools/bench_step.py vgg_A --batch 8 --pairs 7
    python tools/bench_step.py mini_vgg_E --batch 64 --pairs 15

Both sides get the same random images and labels, start from the same weights, and do forward, backward and the SGD
update with momentum and weight decay (dropout included). The order within a pair alternates, so that a drift of the
machine favours neither. The torch side is an nn.Sequential with in-place ReLU and torch.optim.SGD with its defaults.
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
from netc.graph.read import read_net, read_solver
from netc.runtime.net.module import Net

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_step.py`
from tools.baseline_torch import vgg
from tools.timing import in_turn, medians, timed

Step = Callable[[], float]

SOLVER = (
    'base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 random_seed: 1 snapshot_after_train: false'
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder of models/")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    run = _netc_run(options.model, options.batch)
    shape = run.net.graph.shapes["data"]
    data, label = torch.randn(shape) * 60, torch.randint(0, 10, shape[:1]).float()
    found = _compare(_netc_step(run, data, label), _torch_step(options.model, run.net, data, label), options.pairs)
    print(json.dumps({"model": options.model, "batch": options.batch, **found}, indent=1))


def _netc_run(model: str, batch: int) -> Any:
    """A solver of the shipped net, its data layers replaced by inputs of the same shape."""
    layers = read_net(f"models/{model}/train_val.prototxt").layer
    crop = layers[0].transform_param.crop_size
    net = read_net(f"""layer {{
        name: "in" type: "Input" top: "data" top: "label"
        input_param {{ shape {{ dim: [{batch}, 3, {crop}, {crop}] }} shape {{ dim: {batch} }} }} }}""")
    net.layer.extend(layer for layer in layers if layer.type not in ("Data", "Accuracy"))
    solver = read_solver(SOLVER)
    solver.net_param.CopyFrom(net)
    return netc.load_solver(solver)


def _netc_step(run: Any, data: Tensor, label: Tensor) -> Step:
    return lambda: float(run.step(1, feed=lambda k: {"data": data, "label": label}))


def _torch_step(name: str, net: Net, data: Tensor, label: Tensor) -> Step:
    """The same topology as an nn.Sequential, with the same initial weights."""
    small, _, letter = name.partition("vgg_")
    model = vgg(letter, 4 if small else 1, data.shape[2], len(net.params["fc8"][1]))
    with torch.no_grad():
        for layer, (weight, bias) in net.params.items():
            module = getattr(model, layer)
            module.weight.copy_(weight)
            module.bias.copy_(bias)
    loss_of = nn.CrossEntropyLoss()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    target = label.long()

    def step() -> float:
        optimiser.zero_grad()
        loss = loss_of(model(data), target)
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def _compare(ours: Step, theirs: Step, pairs: int) -> dict[str, float]:
    for warm in (ours, theirs, ours, theirs):
        warm()
    times = in_turn(timed(ours), timed(theirs), pairs)
    netc_s, torch_s, ratio = medians(times)
    ratios = [a / b for a, b in times]
    return {
        "netc_ms": round(1e3 * netc_s, 2),
        "torch_ms": round(1e3 * torch_s, 2),
        "ratio_median": round(ratio, 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_max": round(max(ratios), 4),
        "pairs": pairs,
    }


if __name__ == "__main__":
    main()
