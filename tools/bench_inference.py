"""Forward passes by every engine, beside OpenCV's importer of the same files and engines used by hand: medians in turn.

    python tools/bench_inference.py --threads 2 --skip compile --json inference.json
    python tools/bench_inference.py --nets vgg_A googlenet --batches 1 --only compile opencv --json compile.json
    python tools/bench_inference.py --report inference.json

For each net and batch, in one process: netc's engines, `auto`, the net hand-written in eager torch (what `netc emit`
writes), OpenCV 4's importer on the same prototxt and caffemodel, and onnxruntime and OpenVINO used by hand on what
torch.onnx exports of the hand-written net; first all that computes in fp32, then the other precisions. The variants of
such a group run one after the other, round by round, so that a drift of the machine favours none. Where no weights are
at hand they are random. What is not installed or fails is named and left out, and so is what would need more memory
than `--memory`. The file of `--json` grows with each group; what it has is not run again.
The zoo's nets lie in ../shared (or NETC_SHARED).
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import io
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_inference.py`
import netc
from netc import proto
from netc.files.durable import write_whole
from netc.runtime.engines.known import ENGINES
from netc.weights.chunks import write_chunks
from netc.weights.formats.caffemodel import caffemodel_chunks

SHARED = Path(os.environ.get("NETC_SHARED") or Path(__file__).resolve().parents[2] / "shared")
ZOO = SHARED / "zoo"
NETS: dict[str, tuple[str | Path, str | Path]] = {
    "vgg_A": ("models/vgg_A/deploy.prototxt", ""),
    "vgg_D": ("models/vgg_D/deploy.prototxt", ""),
    "googlenet": (
        ZOO / "caffemodel/bvlc_googlenet/deploy.prototxt",
        ZOO / "caffemodel/bvlc_googlenet/bvlc_googlenet.caffemodel",
    ),
    "squeezenet": (ZOO / "prototxt/forresti__SqueezeNet__SqueezeNet_v1.1__deploy.prototxt", ""),
    "resnet_50": (ZOO / "prototxt/soeaver__caffe-model__cls__resnet__deploy_resnet50.prototxt", ""),
}
Run = Callable[[], Any]
FP32, LESS = GROUPS = ("fp32", "less")
LEAST = 3
"""Rounds, however long they take."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=GROUPS, help="fp32, or other precisions")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=30, help="for the rounds of a group, if that is fewer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=8, help="gigabytes that the process may have before a variant")
    parser.add_argument("--skip", nargs="*", default=[], help="variants that contain one of these words")
    parser.add_argument("--only", nargs="*", default=[], help="none but those that contain one of these words")
    parser.add_argument("--processor-time", action="store_true", help="not the clock's: where the machine is busy")
    parser.add_argument("--json", help="write all times here, and go on where it ends")
    parser.add_argument("--report", metavar="JSON", help="print the tables of such a file, and measure nothing")
    options = parser.parse_args()
    if options.report:
        print("\n".join(tables(json.loads(Path(options.report).read_text()))))
        return
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    file = Path(options.json) if options.json else None
    found: dict[str, Any] = json.loads(file.read_text()) if file and file.exists() else {}
    for name in options.nets:
        for batch in options.batches:
            key = f"{name} batch {batch}"
            wanted = [group for group in options.groups if group not in found.get(key, {})]
            if not wanted:
                continue
            with tempfile.TemporaryDirectory(prefix="netc-bench-") as folder:
                for group, times in measured(name, batch, wanted, options, Path(folder)):
                    found.setdefault(key, {})[group] = times
                    if file:
                        write_whole(file, [json.dumps(found, indent=1).encode()])
            gc.collect()
    print("\n".join(["", *tables(found)]))


def measured(
    name: str, batch: int, groups: Sequence[str], options: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The times of each group, printed as they come out."""
    net, weights = files(name, batch, folder)
    exact = netc.load_net(str(net), weights=str(weights))
    x = torch.rand(batch, *exact.graph.shapes[exact.inputs[0]][1:], generator=torch.Generator().manual_seed(0)) * 2 - 1
    makers = variants(exact, net, weights, x, folder)
    for group in groups:
        begun = time.perf_counter()
        print(f"\n{name}, batch {batch}, {options.threads} threads, {group}", flush=True)
        runs, first = started(makers[group], exact(x)[exact.outputs[-1]].numpy(), options, resident())
        times = rounds(runs, options)
        print(f"  {'':<26} {resident() / 1e9:.1f} GB, {time.perf_counter() - begun:.0f} s", flush=True)
        yield group, {"batch": batch, "threads": options.threads, "times_ms": times, "start_s": first}
        report(times, batch)
        runs.clear()
        gc.collect()


def started(
    makers: dict[str, Callable[[], Run]], wanted: Any, options: argparse.Namespace, before: int
) -> tuple[dict[str, Run], dict[str, float]]:
    """The variants that run here, and the seconds until their first pass was done."""
    runs: dict[str, Run] = {}
    first: dict[str, float] = {}
    for variant, make in makers.items():
        if any(word in variant for word in options.skip):
            continue
        if options.only and not any(word in variant for word in options.only):
            continue
        grown = (resident() - before) / max(1, len(runs))
        if resident() + grown > 1e9 * options.memory:
            print(f"  {variant:<26} left out: the process has {resident() / 1e9:.1f} GB", flush=True)
            continue
        start = time.perf_counter()
        try:
            run = make()
            got = np.asarray(run())
        except Exception as error:  # one that fails is named, the others go on
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"  {variant:<26} left out: {why[:110]}", flush=True)
            continue
        first[variant] = time.perf_counter() - start
        difference = float(np.abs(got - wanted).max() / np.abs(wanted).max())
        print(f"  {variant:<26} first pass after {first[variant]:6.2f} s, differs by {difference:.1e}", flush=True)
        runs[variant] = run
    return runs, first


def rounds(runs: dict[str, Run], options: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds of each variant, in turn, forwards and backwards."""
    times: dict[str, list[float]] = {variant: [] for variant in runs}
    now = time.process_time if options.processor_time else time.perf_counter
    begun = time.perf_counter()
    for number in range(options.rounds):
        if number >= LEAST and time.perf_counter() - begun > options.seconds:
            break
        for variant in list(runs) if number % 2 else list(reversed(runs)):
            start = now()
            runs[variant]()
            times[variant].append(1000 * (now() - start))
    return times


def report(times: dict[str, list[float]], batch: int) -> None:
    for variant, found in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        median, (low, _, high) = statistics.median(found), statistics.quantiles(found, n=4)
        images = 1000 * batch / median
        print(f"  {variant:<26} {median:9.2f} ms ({low:.1f} to {high:.1f}) {images:8.1f} images/s", flush=True)


def resident() -> int:
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# -- the tables --------------------------------------------------------------------------------------------------------

BY_HAND = {"openvino fp32 by hand": "OpenVINO by hand", "onnxruntime by hand": "onnxruntime by hand"}
PEERS = {"opencv": "OpenCV", **BY_HAND, "torch eager by hand": "torch by hand"}
AUTO = "netc auto"


def tables(found: dict[str, Any]) -> Iterator[str]:
    """As Markdown: the aims, then every median."""
    yield (
        "| net, batch | best netc, fp32 | ms | images/s | " + " | ".join(f"÷ {name}" for name in PEERS.values()) + " |"
    )
    yield "|---" * (4 + len(PEERS)) + "|"
    for key, cell in found.items():
        if best := _best(cell, FP32, "fp32"):
            yield _row(key, cell[FP32], best, PEERS)
    yield ""
    yield "| net, batch | best netc, bf16 | ms | images/s | ÷ OpenVINO by hand, bf16 |"
    yield "|---" * 5 + "|"
    for key, cell in found.items():
        if best := _best(cell, LESS, "bf16"):
            yield _row(key, cell[LESS], best, {"openvino bf16 by hand": ""})
    yield ""
    yield "| net, batch | auto ÷ best, fp32 | auto ÷ best, bf16 | the exact walk ÷ torch by hand |"
    yield "|---" * 4 + "|"
    for key, cell in found.items():
        autos = [ratio(cell.get(g, {}), f"{AUTO} {p}", _best(cell, g, p)) for g, p in ((FP32, "fp32"), (LESS, "bf16"))]
        walk = ratio(cell.get(FP32, {}), "netc torch fp32", "torch eager by hand")
        yield f"| {key} | {' | '.join([*autos, walk])} |"
    yield ""
    yield "| net, batch | " + " | ".join(names := _names(found)) + " |"
    yield "|---" * (1 + len(names)) + "|"
    for key, cell in found.items():
        times = {name: ms for group in cell.values() for name, ms in group["times_ms"].items()}
        yield f"| {key} | " + " | ".join(_median(times.get(name)) for name in names) + " |"


def _names(found: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for cell in found.values() for group in cell.values() for name in group["times_ms"]))


def _best(cell: dict[str, Any], group: str, precision: str) -> str:
    """netc's fastest variant, `auto` apart."""
    times = cell.get(group, {}).get("times_ms", {})
    own = {name: statistics.median(ms) for name, ms in times.items() if name.startswith("netc ") and AUTO not in name}
    own = {name: ms for name, ms in own.items() if name.endswith(precision)}
    return min(own, key=own.__getitem__, default="")


def _row(key: str, group: dict[str, Any], best: str, peers: dict[str, str]) -> str:
    ms = statistics.median(group["times_ms"][best])
    ratios = " | ".join(ratio(group, best, peer) for peer in peers)
    return f"| {key} | {best.split()[1]} | {ms:.1f} | {1000 * group['batch'] / ms:.1f} | {ratios} |"


def ratio(group: dict[str, Any], one: str, other: str) -> str:
    """Of the medians, and the quartiles of the rounds' own ratios."""
    times = group.get("times_ms", {})
    if one not in times or other not in times:
        return ""
    each = [a / b for a, b in zip(times[one], times[other], strict=True)]
    low, _, high = statistics.quantiles(each, n=4) if len(each) > 1 else each * 3
    return f"{statistics.median(times[one]) / statistics.median(times[other]):.2f} ({low:.2f} to {high:.2f})"


def _median(times: Sequence[float] | None) -> str:
    return f"{statistics.median(times):.1f}" if times else ""


# -- the nets ----------------------------------------------------------------------------------------------------------


def files(name: str, batch: int, folder: Path) -> tuple[Path, Path]:
    """The net with this batch as a prototxt, and its weights as a caffemodel: files that OpenCV reads, too."""
    from netc.prototxt.format import canonical

    source, given = NETS[name]
    graph = netc.compile_net(str(source), "TEST")
    param = proto.NetParameter()
    param.CopyFrom(netc.read_net(str(source)))
    for layer in param.layer:
        if layer.type == "Input":
            layer.input_param.shape[0].dim[0] = batch
    net, weights = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
    net.write_text(canonical(param))
    if given:
        return net, Path(str(given))
    random = np.random.default_rng(0)
    with weights.open("wb") as file:
        write_chunks(file, caffemodel_chunks(param, dict(random_weights(graph, random))))
    return net, weights


def random_weights(graph: Any, random: np.random.Generator) -> Iterator[tuple[str, list[Any]]]:
    """As after a good training: each layer keeps the size of its values."""
    for node in graph.nodes:
        if node.params:
            yield node.name, [_random(ref.blob, random) for ref in node.params]


def _random(blob: Any, random: np.random.Generator) -> Any:
    if len(blob.shape) > 1:
        std = (2 / np.prod(blob.shape[1:])) ** 0.5
        return (random.standard_normal(blob.shape, dtype="f4") * std).astype("f4")
    level = {"variance": 1.0, "factor": 1.0, "weight": 0.6}.get(blob.name, 0.01)
    return np.full(blob.shape, level, "f4")


# -- the variants ------------------------------------------------------------------------------------------------------


def variants(exact: Any, net: Path, weights: Path, x: Any, folder: Path) -> dict[str, dict[str, Callable[[], Run]]]:
    """Of each group, what makes the function that is timed. netc's nets share the exact one's weights."""
    output = exact.outputs[-1]

    def by_netc(engine: str, precision: str) -> Run:
        given = [{exact.inputs[0]: x}] if precision == "int8" else None
        loaded = netc.load_net(str(net), weights=str(weights), engine=engine, precision=precision, calibration=given)
        loaded.share_from(exact)
        return lambda: loaded(x)[output].numpy()

    def hand() -> Any:
        return emitted(exact, net, folder)

    fp32: dict[str, Callable[[], Run]] = {"netc torch fp32": lambda: lambda: exact(x)[output].numpy()}
    less: dict[str, Callable[[], Run]] = {}
    for engine in ENGINES.values():
        for precision in engine.precisions if engine.name != "torch" else ():
            group = fp32 if precision == "fp32" else less
            group[f"netc {engine.name} {precision}"] = partial(by_netc, engine.name, precision)
    fp32 |= {
        f"{AUTO} fp32": lambda: by_netc("auto", "fp32"),
        "torch eager by hand": lambda: partial(_eager, hand(), x),
        "opencv": lambda: opencv(net, weights, x),
        "onnxruntime by hand": lambda: onnxruntime_by_hand(hand, x, folder),
        "openvino fp32 by hand": lambda: openvino_by_hand(hand, x, folder, "f32"),
    }
    less |= {
        f"{AUTO} bf16": lambda: by_netc("auto", "bf16"),
        "openvino bf16 by hand": lambda: openvino_by_hand(hand, x, folder, "bf16"),
    }
    return {FP32: fp32, LESS: less}


def _eager(hand: Any, x: Any) -> Any:
    with torch.no_grad():
        y = hand(x)
    return (next(iter(y.values())) if isinstance(y, dict) else y).numpy()


def emitted(exact: Any, net: Path, folder: Path) -> Any:
    """The module that `netc emit` writes, with the same weights."""
    from netc.cli import main as command

    path = folder / "emitted.py"
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        with redirect_stderr(io.StringIO()):
            command(["emit", str(net), "-o", str(path), "--force"])
    finally:
        sys.stdout = stdout
    spec = importlib.util.spec_from_file_location("emitted", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == "emitted"]
    hand = next(kind for kind in reversed(kinds) if issubclass(kind, torch.nn.Module))().eval()
    hand.load_state_dict(exact.state_dict(), strict=False, assign=True)
    return hand


def opencv(net: Path, weights: Path, x: Any) -> Run:
    import cv2

    cv2.setNumThreads(torch.get_num_threads())
    read = getattr(cv2.dnn, "readNetFromCaffe", None)
    if read is None:
        raise ImportError("this OpenCV has no importer of Caffe's files: pip install 'opencv-python-headless<5'")
    loaded = read(str(net), str(weights))
    array = x.numpy()

    def run() -> Any:
        loaded.setInput(array)
        return loaded.forward()

    return run


def exported(hand: Callable[[], Any], x: Any, folder: Path) -> Path:
    path = folder / "by_hand.onnx"
    if not path.exists():
        torch.onnx.export(hand(), (x,), str(path), dynamo=True, verbose=False)
    return path


def onnxruntime_by_hand(hand: Callable[[], Any], x: Any, folder: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    path = str(exported(hand, x, folder))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, given)[0]


def openvino_by_hand(hand: Callable[[], Any], x: Any, folder: Path, precision: str) -> Run:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(str(exported(hand, x, folder)), "CPU", settings)
    given = [x.numpy()]
    return lambda: compiled(given, share_inputs=True)[0]


if __name__ == "__main__":
    main()
