"""Forward passes by every engine, beside OpenCV's importer of the same files and engines used by hand: medians in turn.

    python tools/bench_inference.py --threads 2 --rounds 15 --batches 1 8 --json inference.json
    python tools/bench_inference.py --nets vgg_A googlenet --rounds 9 --skip compile

For each net and batch, in one process: netc's engines and precisions, `auto`, the net hand-written in eager torch (what
`netc emit` writes), OpenCV 4's importer on the same prototxt and caffemodel, and onnxruntime and OpenVINO used by hand
on what torch.onnx exports of the hand-written net. All variants are run one after the other, round by round, so that a
drift of the machine favours none. Where no weights are at hand they are random. What is not installed is left out.
The zoo's nets lie in ../shared (or NETC_SHARED).
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_inference.py`
import netc
from netc import proto
from netc.errors import NetcError
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip", nargs="*", default=[], help="variants that contain one of these words")
    parser.add_argument("--json", help="write all times here")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    for name in options.nets:
        for batch in options.batches:
            with tempfile.TemporaryDirectory(prefix="netc-bench-") as folder:
                found[f"{name} batch {batch}"] = measured(name, batch, options, Path(folder))
            gc.collect()
            if options.json:
                Path(options.json).write_text(json.dumps(found, indent=1))


def measured(name: str, batch: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Times of each variant, printed as they come out."""
    net, weights = files(name, batch, folder)
    exact = netc.load_net(str(net), weights=str(weights))
    x = torch.rand(batch, *exact.graph.shapes[exact.inputs[0]][1:]) * 2 - 1
    wanted = exact(x)[exact.outputs[-1]].numpy()
    runs: dict[str, Run] = {}
    first: dict[str, float] = {}
    print(f"\n{name}, batch {batch}, {options.threads} threads", flush=True)
    for variant, make in variants(exact, net, weights, x, folder):
        if any(word in variant for word in options.skip):
            continue
        start = time.perf_counter()
        try:
            run = make()
            got = np.asarray(run())
        except (ImportError, NetcError) as error:
            print(f"  {variant:<26} left out: {str(error).splitlines()[0][:110]}", flush=True)
            continue
        first[variant] = time.perf_counter() - start
        difference = float(np.abs(got - wanted).max() / np.abs(wanted).max())
        print(f"  {variant:<26} first pass after {first[variant]:6.2f} s, differs by {difference:.1e}", flush=True)
        runs[variant] = run
    times: dict[str, list[float]] = {variant: [] for variant in runs}
    for number in range(options.rounds):
        order = list(runs) if number % 2 else list(reversed(runs))
        for variant in order:
            start = time.perf_counter()
            runs[variant]()
            times[variant].append(1000 * (time.perf_counter() - start))
    report(times, batch)
    return {"times_ms": times, "start_s": first}


def report(times: dict[str, Sequence[float]] | dict[str, list[float]], batch: int) -> None:
    base = statistics.median(times["opencv"]) if "opencv" in times else None
    for variant, found in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        median, quarters = statistics.median(found), statistics.quantiles(found, n=4)
        ratio = f"{median / base:5.2f} x opencv" if base else ""
        spread = f"{quarters[0]:.1f} to {quarters[2]:.1f}"
        print(f"  {variant:<26} {median:9.2f} ms ({spread}) {1000 * batch / median:8.1f} images/s  {ratio}", flush=True)


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


def variants(exact: Any, net: Path, weights: Path, x: Any, folder: Path) -> Iterator[tuple[str, Callable[[], Run]]]:
    output = exact.outputs[-1]

    def by_netc(engine: str, precision: str) -> Run:
        given = [{exact.inputs[0]: x}] if precision == "int8" else None
        loaded = netc.load_net(str(net), weights=str(weights), engine=engine, precision=precision, calibration=given)
        return lambda: loaded(x)[output].numpy()

    yield "netc torch fp32", lambda: lambda: exact(x)[output].numpy()
    for engine in ENGINES.values():
        for precision in engine.precisions if engine.name != "torch" else ():
            yield f"netc {engine.name} {precision}", lambda e=engine.name, p=precision: by_netc(e, p)  # type: ignore[misc]
    yield "netc auto fp32", lambda: by_netc("auto", "fp32")
    yield "netc auto bf16", lambda: by_netc("auto", "bf16")
    hand = emitted(exact, net, folder)
    yield "torch eager by hand", lambda: lambda: _eager(hand, x)
    yield "opencv", lambda: opencv(net, weights, x)
    yield "onnxruntime by hand", lambda: onnxruntime_by_hand(hand, x, folder)
    yield "openvino fp32 by hand", lambda: openvino_by_hand(hand, x, folder, "f32")
    yield "openvino bf16 by hand", lambda: openvino_by_hand(hand, x, folder, "bf16")


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
    hand.load_state_dict(exact.state_dict(), strict=False)
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


def exported(hand: Any, x: Any, folder: Path) -> Path:
    path = folder / "by_hand.onnx"
    if not path.exists():
        torch.onnx.export(hand, (x,), str(path), dynamo=True, verbose=False)
    return path


def onnxruntime_by_hand(hand: Any, x: Any, folder: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    path = str(exported(hand, x, folder))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, given)[0]


def openvino_by_hand(hand: Any, x: Any, folder: Path, precision: str) -> Run:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(str(exported(hand, x, folder)), "CPU", settings)
    given = [x.numpy()]
    return lambda: compiled(given, share_inputs=True)[0]


if __name__ == "__main__":
    main()
