"""What the paper's tests cost: dense evaluation in units of one crop, crops against it, the loop around a net, memory.

    python tools/bench_evaluation.py dense scales          # vgg_D: medians of pairs, beside the ratio of multiply-adds
    python tools/bench_evaluation.py loop memory features product
    python tools/bench_evaluation.py scales --net googlenet --pairs 5

    dense      an image of 256 and of 384 pixels through the convolutional form, in units of one crop of 224
    scales     three scales (256, 384, 512) with flips, dense, against 150 crops, one image of 480 × 640 pixels
    loop       images a second of what `netc test` does, against forward passes over the same images, decoded before
    memory     the peak of a process (VmHWM) that looks at an image at Q = 768
    features   descriptors of photos: images a second
    product    VGG's fc6 as a matrix product and as oneDNN's convolution, over maps of several sizes

Times are processor times, all threads together, which other work on the machine disturbs least; `--clock wall` asks for
the others. The weights of vgg_D are random. Photos: ../shared/zoo/images (or NETC_SHARED), repeated as often as needed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_evaluation.py`
import netc
from netc.check.analyse import analyse
from netc.layers.functions.convolution import is_product, product
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.evaluate.dense import dense
from netc.runtime.evaluate.describe import Describer
from netc.runtime.evaluate.images import resized
from netc.runtime.evaluate.protocol import CENTRE, windows
from netc.runtime.evaluate.protocol import protocol as protocol_of
from netc.runtime.evaluate.run import Run
from netc.runtime.evaluate.sources import open_source
from netc.runtime.evaluate.sweep import Member
from netc.runtime.net.module import Net
from netc.runtime.parallel.group import Group
from tools.timing import ENVIRONMENT, in_turn, medians, timed

SHARED = Path(os.environ.get("NETC_SHARED") or Path(__file__).resolve().parents[2] / "shared")
GOOGLENET = SHARED / "zoo/caffemodel/bvlc_googlenet"
PHOTOS = SHARED / "zoo/images/ilsvrc_val"
MEAN = (104, 117, 123)
SCALES = (256, 384, 512)
CROP = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--net", default="vgg_D", help="a folder of models/, or googlenet")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--photos", type=int, default=100, help="for loop and features")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.clock = time.process_time if options.clock == "cpu" else time.perf_counter
    for part in options.parts:
        for line in PARTS[part](options):
            print(json.dumps({"part": part, **line}), flush=True)


def net_of(name: str) -> Net:
    if name == "googlenet":
        return netc.load_net(str(GOOGLENET / "deploy.prototxt"), weights=str(GOOGLENET / "bvlc_googlenet.caffemodel"))
    net = netc.load_net(f"models/{name}/deploy.prototxt")
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():  # so that each layer keeps the size of its values
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5) if weight.dim() > 1 else weight.zero_()
    return net


# -- dense evaluation and crops ----------------------------------------------------------------------------------------


def dense_in_crops(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    net = net_of(options.net)
    found = dense(net)
    crop = torch.randn(1, 3, CROP, CROP) * 60

    def one_crop() -> Tensor:
        with torch.inference_mode():
            scores: Tensor = net({found.image: crop}, blobs=[found.blob])[found.blob]
        return scores

    for height, width in ((256, 256), (384, 384), (256, 341), (384, 512)):
        image = torch.randn(1, 3, height, width) * 60
        wanted = macs(found.form.sized(height, width)) / macs(found.form.graph)

        def whole(image: Tensor = image) -> Tensor:
            with torch.inference_mode():
                return found.map(image)

        for warm in (one_crop, whole):
            warm()
        ours, unit, ratio = medians(pairs_of(whole, one_crop, options))
        yield {
            "net": options.net,
            "image": f"{height}×{width}",
            "dense_s": round(ours, 3),
            "crop_s": round(unit, 3),
            "in_crops": round(ratio, 3),
            "multiply_adds": round(wanted, 3),
            "off": f"{100 * (ratio / wanted - 1):+.1f} %",
        }


def scales_against_crops(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    net = net_of(options.net)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    form = dense(net).form
    sizes = [(scale, round(scale * 640 / 480)) for scale in SCALES]
    wanted = 150 * macs(form.graph) / (2 * sum(macs(form.sized(*size)) for size in sizes))

    def by(view: str) -> Callable[[], Any]:
        return lambda: netc.posteriors(net, image, SCALES, view, flip=True, mean=MEAN)

    crops, whole, ratio = medians(pairs_of(by("crops"), by("dense"), options))
    yield {
        "net": options.net,
        "crops_s": round(crops, 2),
        "dense_s": round(whole, 2),
        "times": round(ratio, 2),
        "multiply_adds": round(wanted, 2),
    }


def macs(graph: Any) -> int:
    return analyse(graph).macs


def pairs_of(ours: Callable[[], Any], theirs: Callable[[], Any], options: Any) -> list[tuple[float, float]]:
    return in_turn(timed(ours, options.clock), timed(theirs, options.clock), options.pairs)


# -- the loop ----------------------------------------------------------------------------------------------------------


def loop(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """`netc test` without the start of the process: reading, decoding, rescaling, views, posteriors, errors."""
    with tempfile.TemporaryDirectory(prefix="netc-bench-") as folder:
        source = str(listed(Path(folder), options.photos))
        net = net_of(options.net)
        for view, flip in (("centre", False), ("dense", False), ("dense", True)):
            yield {"net": options.net, "view": view, "flip": flip, **_loop(net, source, view, flip, options)}


def _loop(net: Net, path: str, view: str, flip: bool, options: argparse.Namespace) -> dict[str, Any]:
    classifier = Classifier(net, mean=MEAN)
    given = protocol_of(256, view, flip)
    source = open_source(path, str(PHOTOS))
    batches = list(inputs(classifier, source, view, flip))

    def ours() -> None:
        Run(source, [Member(classifier, given)], Group(), options.threads, options.threads).outcome()

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                if view == "dense":
                    classifier.dense.net({classifier.image: batch}, blobs=[classifier.blob])
                else:
                    net({classifier.image: batch}, blobs=[classifier.blob])

    bare()
    a, b, ratio = medians(pairs_of(ours, bare, options))
    count = len(source)
    return {"photos": count, "ours": round(count / a, 2), "bare": round(count / b, 2), "of_bare": round(1 / ratio, 3)}


def inputs(classifier: Classifier, source: Any, view: str, flip: bool) -> Iterator[Tensor]:
    """The images as the net takes them, by batches as `netc test` makes them: of one size, up to 16."""
    groups: dict[tuple[int, int], list[Any]] = {}
    for index in range(len(source)):
        planes = classifier.input.planes(resized(source.record(index).pixels(True), 256))
        if view == "centre":
            ((top, left),) = windows(CENTRE, planes.shape[1:], (CROP, CROP))
            planes = planes[:, top : top + CROP, left : left + CROP]
        groups.setdefault(planes.shape[1:], []).append(planes)
    for group in groups.values():
        for start in range(0, len(group), 16):
            batch = torch.from_numpy(np.stack(group[start : start + 16]))
            for side in (batch, batch.flip(3)) if flip else (batch,):
                for part in side.split(classifier._at_once(tuple(side.shape), view == "dense")):
                    yield part.clone()


def listed(folder: Path, count: int) -> Path:
    """A list of so many photos."""
    names = [str(path.relative_to(PHOTOS)) for path in sorted(PHOTOS.glob("*/*"))]
    step = max(1, len(names) // count)
    path = folder / "photos.txt"
    path.write_text("".join(f"{name} 0\n" for name in islice(cycle(names[::step]), count)))
    return path


def features(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    names = sorted(PHOTOS.glob("*/*"))
    paths = list(islice(cycle(names), options.photos))
    net = net_of(options.net)
    Describer(net, mean=MEAN)  # whatever is made once
    start, wall = time.process_time(), time.perf_counter()
    netc.features(net, paths, mean=MEAN)
    cpu, wall = time.process_time() - start, time.perf_counter() - wall
    rates = {"cpu_s": round(cpu, 1), "wall_s": round(wall, 1), "images_per_cpu_s": round(len(paths) / cpu, 2)}
    yield {"net": options.net, "photos": len(paths), "Q": 256, "flip": True, **rates}


# -- memory ------------------------------------------------------------------------------------------------------------

PROBE = """
import re, sys, numpy as np, torch
sys.path.insert(0, "tools")
torch.set_num_threads(1)
import netc
from tools.bench_evaluation import MEAN, net_of
def status(name): return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
net = net_of(sys.argv[1])
image = np.random.default_rng(0).integers(0, 256, (int(sys.argv[2]), int(sys.argv[3]), 3), np.uint8)
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
netc.posteriors(net, image, int(sys.argv[4]), "dense", flip=True, mean=MEAN)
from netc.runtime.evaluate.dense import dense
from netc.runtime.data.rescale import rescaled
found = dense(net).plan(*rescaled(*image.shape[:2], int(sys.argv[4])))
print(before, status("VmHWM"), found.bytes / 2**20, len(found.tiles))
"""


def peak_memory(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for height, width, scale in ((480, 640, 256), (480, 640, 768), (480, 1250, 768)):
        given = [sys.executable, "-c", PROBE, options.net, *map(str, (height, width, scale))]
        done = subprocess.run(given, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        before, most, blobs, tiles = map(float, done.stdout.split())
        yield {
            "net": options.net,
            "image": f"{height}×{width}",
            "Q": scale,
            "loaded_MB": round(before),
            "peak_MB": round(most),
            "added_MB": round(most - before),
            "blobs_MB": round(blobs),
            "tiles": int(tiles),
        }


# -- fc6 as a matrix product -------------------------------------------------------------------------------------------

KERNELS = (
    (512, 4096, 7, ((7, 7), (8, 8), (8, 10), (12, 16), (16, 21), (24, 24), (24, 32), (24, 62))),
    (256, 4096, 6, ((6, 6), (7, 7), (13, 13), (22, 29))),
    (64, 128, 7, ((7, 7), (8, 8), (14, 14), (32, 32))),
)
"""Channels, outputs, kernel, maps: VGG's fc6, AlexNet's, and that of a small net."""


def products(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    torch.manual_seed(0)
    for channels, outputs, kernel, maps in KERNELS:
        weight, bias = torch.randn(outputs, channels, kernel, kernel) / 100, torch.zeros(outputs)
        for size in maps:
            yield _product(torch.randn(1, channels, *size), weight, bias, options)


def _product(x: Tensor, weight: Tensor, bias: Tensor, options: argparse.Namespace) -> dict[str, Any]:
    def ours() -> Tensor:
        return product(x, weight, bias)

    def theirs() -> Tensor:
        return F.conv2d(x, weight, bias)

    ours(), theirs()
    a, b, ratio = medians(pairs_of(ours, theirs, options))
    chosen = is_product(x, weight, (1, 1), (0, 0), (1, 1))
    return {
        "kernel": "×".join(map(str, weight.shape)),
        "map": f"{x.shape[2]}×{x.shape[3]}",
        "product_ms": round(1e3 * a, 2),
        "convolution_ms": round(1e3 * b, 2),
        "ratio": round(ratio, 2),
        "taken": "product" if chosen else "convolution",
        "of_the_better": round((ratio if chosen else 1) / min(ratio, 1), 2),
    }


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[dict[str, Any]]]] = {
    "dense": dense_in_crops,
    "scales": scales_against_crops,
    "loop": loop,
    "memory": peak_memory,
    "features": features,
    "product": products,
}


if __name__ == "__main__":
    main()
