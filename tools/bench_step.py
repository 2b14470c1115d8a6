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
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import netc
from netc.graph.ir import Node
from netc.graph.read import read_net, read_solver
from netc.runtime.net.module import Net

Step = Callable[[], float]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    run, net = _netc_run(options.model, options.batch)
    shape = net.graph.shapes["data"]
    data, label = torch.randn(options.batch, *shape[1:]) * 60, torch.randint(0, 10, (options.batch,)).float()
    ours = _netc_step(run, data, label)
    theirs = _torch_step(net, data, label)
    print(
        json.dumps({"model": options.model, "batch": options.batch, **_compare(ours, theirs, options.pairs)}, indent=1)
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder of models/")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _netc_run(model: str, batch: int) -> tuple[Any, Net]:
    """The shipped solver and net, its data layers replaced by inputs of the same shape."""
    folder = f"models/{model}"
    solver = read_solver(f"{folder}/solver.prototxt")
    net = read_net(f"{folder}/train_val.prototxt")
    crop = next(layer.transform_param.crop_size for layer in net.layer if layer.type == "Data")
    keep = [layer for layer in net.layer if layer.type not in ("Data", "Accuracy")]
    text = [
        f'layer {{ name: "in" type: "Input" top: "data" top: "label" input_param {{ '
        f"shape {{ dim: {batch} dim: 3 dim: {crop} dim: {crop} }} shape {{ dim: {batch} }} }} }}"
    ]
    param = read_net(text[0])
    param.layer.extend(keep)
    for name in (
        "net",
        "train_net",
        "transplant_param",
        "test_iter",
        "test_interval",
        "snapshot",
        "plateau_param",
        "weights",
    ):
        solver.ClearField(name)
    solver.lr_policy, solver.display, solver.snapshot_after_train = "fixed", 0, False
    solver.net_param.CopyFrom(param)
    run = netc.load_solver(solver)
    return run, run.net


def _netc_step(run: Any, data: Tensor, label: Tensor) -> Step:
    def step() -> float:
        return float(run.step(1, feed=lambda k: {"data": data, "label": label}))

    return step


def _torch_step(net: Net, data: Tensor, label: Tensor) -> Step:
    """The same topology as an nn.Sequential, with the same initial weights."""
    model = _sequential(net)
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


def _sequential(net: Net) -> nn.Sequential:
    layers: list[nn.Module] = []
    for node in net.graph.nodes:
        layers += _modules(net, node)
    return nn.Sequential(*layers)


def _modules(net: Net, node: Node) -> list[nn.Module]:
    if node.type == "Convolution":
        weight, bias = net.params[node.name]
        options = node.layer.options
        pad = options.pad[0] if options.pad else 0
        return [_load(nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=pad), weight, bias)]
    if node.type == "InnerProduct":
        weight, bias = net.params[node.name]
        linear = _load(nn.Linear(weight.shape[1], weight.shape[0]), weight, bias)
        return [nn.Flatten(), linear] if len(node.bottom_shapes[0]) > 2 else [linear]
    if node.type == "ReLU":
        return [nn.ReLU(inplace=True)]
    if node.type == "Pooling":
        return [nn.MaxPool2d(2, 2)]
    if node.type == "LRN":
        return [nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)]
    return [nn.Dropout(0.5)] if node.type == "Dropout" else []


def _load(module: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(weight)  # type: ignore[operator]
        module.bias.copy_(bias)  # type: ignore[operator]
    return module


def _compare(ours: Step, theirs: Step, pairs: int) -> dict[str, float]:
    for warm in (ours, theirs, ours, theirs):
        warm()
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for side in ((0, 1), (1, 0))[pair % 2]:
            start = time.perf_counter()
            (ours, theirs)[side]()
            times[side].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    return {
        "netc_ms": round(1e3 * statistics.median(times[0]), 2),
        "torch_ms": round(1e3 * statistics.median(times[1]), 2),
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_max": round(max(ratios), 4),
        "pairs": pairs,
    }


if __name__ == "__main__":
    main()
