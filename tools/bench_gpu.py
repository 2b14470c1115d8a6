"""Training speed on one GPU: images/s, and the share of what the card's matrix units were measured to do.

    python tools/bench_gpu.py                 # under 8 minutes; writes bench_gpu.json
    python tools/bench_gpu.py -o FILE --budget 240

vgg_A, D and E in fp32, tf32 and bf16, eager and compiled, by netc and by a loop around torchvision's VGG with
channels-last, AMP and a fused update; both layouts of memory for netc. What is worth most comes first, and what no
longer fits into the budget is left out and named. The file is written anew after every measurement. Without a GPU the
mini nets are run at a tiny size, which shows that the script works and nothing else.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import netc
from netc.files.durable import write_whole
from netc.graph.ir import Graph
from netc.runtime.net.numerics import settle

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_gpu.py`
from tools.baseline_torch import vgg
from tools.bench_step import loop, netc_step
from tools.nets import random_batch, solver_of

TORCHVISION = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}
MATRIX = {"cuda": 8192, "cpu": 256}


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement. `by`: "netc" or "torchvision"."""

    net: str
    by: str
    precision: str
    compiled: bool = False
    channels_last: bool = True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default="bench_gpu.json")
    parser.add_argument("--budget", type=float, default=420, help="seconds after which nothing is begun")
    parser.add_argument("--nets", nargs="*", help="folders of models/")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--crop", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="that a measurement takes, after warming up")
    parser.add_argument("--eager", action="store_true", help="compile nothing (the default without a GPU)")
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tiny = device == "cpu"
    options.nets = options.nets or ([f"mini_vgg_{letter}" for letter in "ADE"] if tiny else ["vgg_D", "vgg_A", "vgg_E"])
    options.batch = options.batch or (2 if tiny else 64)
    options.crop = options.crop or (32 if tiny else 0)
    options.seconds = options.seconds if options.seconds is not None else (0.0 if tiny else 2.0)
    _measure_all(options, device, compiled=not (options.eager or tiny))
    return 0


def _measure_all(options: argparse.Namespace, device: str, compiled: bool) -> None:
    began = time.monotonic()
    found: dict[str, Any] = {"machine": _machine(device), "batch": options.batch, "crop": options.crop or 224}
    found |= {"matrix_tflops": _matrix_rates(device, options.seconds), "runs": [], "left_out": []}
    longest = {False: 0.0, True: 60.0 if device == "cuda" else 0.0}  # what a run that compiles may take, at first
    for run in _planned(options.nets, compiled):
        left = options.budget - (time.monotonic() - began)
        if longest[run.compiled] > left:
            found["left_out"].append({**asdict(run), "why": f"{left:.0f} s of the budget are left"})
        else:
            start = time.monotonic()
            found["runs"].append({**asdict(run), **_tried(run, options, device, found["matrix_tflops"])})
            took = time.monotonic() - start
            longest[run.compiled] = max(took, longest[run.compiled] if not run.compiled else 0.0)
            print(json.dumps(found["runs"][-1]), flush=True)
        found["seconds"] = round(time.monotonic() - began, 1)
        write_whole(Path(options.output), [(json.dumps(found, indent=1) + "\n").encode()])


def _planned(nets: Sequence[str], compiled: bool) -> Iterator[Run]:
    """All eager runs, then the compiled ones; bf16 and the first net first."""
    precisions = ("bf16", "tf32", "fp32")
    for precision in precisions:
        for net in nets:
            yield Run(net, "netc", precision)
            yield Run(net, "torchvision", precision)
    for precision in precisions:
        yield Run(nets[0], "netc", precision, channels_last=False)
    for precision in precisions if compiled else ():
        for net in nets:
            yield Run(net, "netc", precision, True)
            yield Run(net, "torchvision", precision, True)


def _tried(run: Run, options: argparse.Namespace, device: str, rates: dict[str, float]) -> dict[str, Any]:
    """The figures of a run, or why there are none: a card may be too small for one and not for others."""
    try:
        step, images, operations, model = _made(run, options, device)
        seconds = _seconds(step, device, options.seconds)
    except (RuntimeError, netc.NetcError) as error:
        return {"error": str(error).splitlines()[0][:300]}
    finally:
        if device == "cuda":
            torch.cuda.empty_cache()
    rate = operations * images / seconds / 1e12
    figures = {"ms": round(1e3 * seconds, 3), "images_per_second": round(images / seconds, 2)}
    figures |= {"tflops": round(rate, 4), "share_of_matrix_rate": round(rate / rates[run.precision], 4)}
    if device == "cuda":
        figures["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        torch.cuda.reset_peak_memory_stats()
    return {"model": model, **figures}


def _made(run: Run, options: argparse.Namespace, device: str) -> tuple[Callable[[], float], int, float, str]:
    """(a training step, images in it, multiplications and additions an image, whose model it is)."""
    solver = netc.load_solver(
        solver_of(run.net, options.batch, options.crop),
        device=device,
        precision=run.precision,
        channels_last=run.channels_last,
        compiled=run.compiled,
    )
    graph = solver.net.graph
    batch = random_batch(graph.shapes["data"], device=device)
    operations = training_operations(graph) / options.batch
    if run.by == "netc":
        return netc_step(solver, batch), options.batch, operations, "netc"
    model, name = _other_model(run.net, graph)
    del solver
    channels_last: Any = {"memory_format": torch.channels_last}
    model = model.to(device, **channels_last)
    data = batch["data"].to(memory_format=torch.channels_last)
    called: Any = torch.compile(model) if run.compiled else model
    return loop(called, data, batch["label"].long(), run.precision, True), options.batch, operations, name


def training_operations(graph: Graph) -> float:
    """Multiplications and additions of a step's products: forward, the gradient of the weights, and that of the bottoms
    but for the first layer's."""
    macs = [
        node.layer.macs([graph.shapes[b] for b in node.bottoms], node.top_shapes)
        for node in graph.nodes
        if node.layer.multiplies
    ]
    return 2.0 * (3 * sum(macs) - macs[0])


def _other_model(net: str, graph: Graph) -> tuple[nn.Module, str]:
    """torchvision's VGG; where that is not installed, or has no such net, the same layers by hand."""
    small, _, letter = net.partition("vgg_")
    if not small and graph.shapes["data"][2] == 224:
        try:
            import torchvision

            name = TORCHVISION[letter]
            return getattr(torchvision.models, name)(weights=None), f"torchvision {torchvision.__version__} {name}"
        except (ImportError, RuntimeError, KeyError):
            pass
    classes = graph.shapes["fc8"][1]
    return vgg(letter, 4 if small else 1, graph.shapes["data"][2], classes), "the same layers by hand"


# -- the clock and the card --------------------------------------------------------------------------------------------


def _seconds(step: Callable[[], object], device: str, least: float) -> float:
    """The median of steps, after some that are not counted; until `least` seconds are over, and 3 steps at least."""
    for _ in range(3 if device == "cuda" else 1):
        step()
    found: list[float] = []
    began = time.perf_counter()
    while len(found) < (3 if device == "cuda" else 1) or time.perf_counter() - began < least:
        _wait(device)
        start = time.perf_counter()
        step()
        _wait(device)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _matrix_rates(device: str, seconds: float) -> dict[str, float]:
    """10¹² multiplications and additions a second of a large product in each precision, measured."""
    size, found = MATRIX[device], {}
    for precision in ("fp32", "tf32", "bf16"):
        settle(precision=precision)
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
        found[precision] = round(2 * size**3 / _seconds(_product(a, b), device, min(seconds, 1.0)) / 1e12, 4)
    settle()
    return found


def _product(a: Tensor, b: Tensor) -> Callable[[], Tensor]:
    return lambda: a @ b


def _machine(device: str) -> dict[str, Any]:
    card = {}
    if device == "cuda":
        about = torch.cuda.get_device_properties(0)
        card = {"gpu": about.name, "gpu_gb": round(about.total_memory / 1e9, 1), "cuda": torch.version.cuda}
        card["cudnn"] = torch.backends.cudnn.version()
    versions = {"python": platform.python_version(), "torch": str(torch.__version__), "netc": netc.__version__}
    return {"device": device, **card, **versions, "processor": platform.processor() or platform.machine()}


if __name__ == "__main__":
    sys.exit(main())
