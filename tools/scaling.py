"""How training VGG scales to 1024 GPUs: a model on paper, its assumptions, and its checks against published points.

    python tools/scaling.py            # the tables of docs/scaling.md
    python tools/scaling.py --write    # into docs/scaling.md

Layers, multiply-adds and gradient bytes are read off the shipped nets. A step is: forward, backward from the last layer
to the first, the sum of gradients over the GPUs, the update. Nothing here is measured by netc; what is taken from
measurements of others names its source (shared/research/performance.md lists them).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/scaling.py`
from netc.check.analyse import Row, analyse
from netc.files.shipped import locate
from netc.graph.compile import compile_net

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- tools/scaling.py writes from here -->\n", "<!-- to here -->\n"

GRADIENT = 4
"""Bytes of a gradient: they are summed in float32."""
BUCKET = 25 << 20
"""Bytes of gradients that are sent at a time, torch's own default; a larger parameter is a bucket of its own."""
PASSES = 9
"""How often the values of a layer's tops go in or out of memory in a step, besides the products: written by the
convolution, read and written by ReLU, read by the next; on the way back gradients twice as often, less the inputs'."""
UPDATE = 20
"""Bytes of memory that the update moves for each parameter: weight, gradient, velocity; weight and velocity back."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Of one image: operations forward and backward, values of its tops. Parameters; the sides of a matrix of FC."""

    name: str
    forward: float
    backward: float
    values: float
    params: int
    sides: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """rate: operations a second in products, as they come out in practice. memory: bytes a second. size: bytes of a
    value in forward and backward."""

    rate: float
    memory: float
    size: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes of `of_node` GPUs. inside, between: bytes a second at which a node's GPUs, or the nodes, pass a sum around
    (bus bandwidth). latency: seconds that a message takes."""

    of_node: int
    inside: float
    between: float
    latency: float = 10e-6


def layers(net: str) -> list[Layer]:
    """The layers of a shipped net that compute, in order."""
    found = analyse(compile_net(locate(net, "deploy.prototxt"), phase="TEST"))
    rows = [row for row in found.rows if row.macs or row.values]
    first = next(row for row in rows if row.macs)
    return [_layer(row, row is first) for row in rows if not row.node.layer.is_source]


def _layer(row: Row, first: bool) -> Layer:
    """Backward is the gradient of the weights and that of the bottom, which the first layer has no need of."""
    weight = row.node.params[0].blob.shape if row.node.params else ()
    matrix = weight if len(weight) == 2 else ()
    operations = 2.0 * row.macs
    return Layer(row.node.name, operations, operations * (1 if first else 2), row.values, row.params, sum(matrix))


# -- one GPU -----------------------------------------------------------------------------------------------------------


def forward(layer: Layer, gpu: Gpu, batch: float) -> float:
    """Seconds: the products, or the reading of the weights where that takes longer, and the passes over the tops."""
    weights = gpu.size * layer.params / gpu.memory
    return max(layer.forward * batch / gpu.rate, weights) + gpu.size * layer.values * batch * PASSES / 3 / gpu.memory


def backward(layer: Layer, gpu: Gpu, batch: float) -> float:
    weights = 2 * gpu.size * layer.params / gpu.memory
    return (
        max(layer.backward * batch / gpu.rate, weights) + gpu.size * layer.values * batch * PASSES * 2 / 3 / gpu.memory
    )


def alone(net: Sequence[Layer], gpu: Gpu, batch: float) -> float:
    """Seconds of a step of one GPU."""
    passes = sum(forward(layer, gpu, batch) + backward(layer, gpu, batch) for layer in net)
    return passes + UPDATE * sum(layer.params for layer in net) / gpu.memory


# -- several -----------------------------------------------------------------------------------------------------------


def exchange(size: float, gpus: int, cluster: Cluster, once: bool = False) -> float:
    """Seconds to sum `size` bytes over all GPUs, or (`once`) to bring `size` bytes in all to each of them: within the
    nodes, then between them."""
    inside = min(gpus, cluster.of_node)
    nodes = math.ceil(gpus / cluster.of_node)
    times = 1 if once else 2
    seconds = times * size * ((inside - 1) / inside / cluster.inside + (nodes - 1) / nodes / cluster.between)
    return seconds + (cluster.latency * math.log2(gpus) if gpus > 1 else 0)


def factors(layer: Layer, gpu: Gpu, batch: float, gpus: int, cluster: Cluster) -> float:
    """Seconds of an FC layer's gradient by its sufficient factors: every GPU is sent the bottoms and the top's
    gradients of all images, and multiplies them itself."""
    sent = exchange(GRADIENT * layer.sides * batch * gpus, gpus, cluster, once=True)
    return sent + layer.forward * batch * (gpus - 1) / gpu.rate


def buckets(net: Sequence[Layer], gpu: Gpu, batch: float) -> list[tuple[float, list[Layer]]]:
    """(seconds of backward after which it is ready, its layers), in the order in which they become ready."""
    found: list[tuple[float, list[Layer]]] = []
    at, pending = 0.0, []
    for layer in reversed(net):
        at += backward(layer, gpu, batch)
        pending += [layer] if layer.params else []
        if sum(GRADIENT * each.params for each in pending) >= BUCKET or (layer is net[0] and pending):
            found.append((at, pending))
            pending = []
    return found


Sent = Callable[[Sequence[Layer]], float]


def step(net: Sequence[Layer], gpu: Gpu, batch: float, sent: Sent, overlap: bool = True, last: bool = False) -> float:
    """Seconds of a step. sent: how long some layers' gradients take. overlap: they are sent while the backward pass
    goes on; `last`: those of the FC layers after all others, though they are ready first."""
    passes = alone(net, gpu, batch) - UPDATE * sum(layer.params for layer in net) / gpu.memory
    ahead = sum(forward(layer, gpu, batch) for layer in net)
    every = buckets(net, gpu, batch)
    if last:
        every.sort(key=lambda bucket: any(layer.sides for layer in bucket[1]))
    free = 0.0 if overlap else passes
    for ready, of_bucket in every:
        free = max(free, ahead + ready) + sent(of_bucket)
    return max(passes, free) + alone(net, gpu, batch) - passes


def summed(gpus: int, cluster: Cluster) -> Sent:
    return lambda some: exchange(GRADIENT * sum(layer.params for layer in some), gpus, cluster) if gpus > 1 else 0.0


def factored(gpu: Gpu, batch: float, gpus: int, cluster: Cluster) -> Sent:
    """By sufficient factors where that is faster."""

    def sent(some: Sequence[Layer]) -> float:
        whole = summed(gpus, cluster)
        each = [min(whole([one]), factors(one, gpu, batch, gpus, cluster)) if one.sides else 0.0 for one in some]
        rest = [one for one in some if not one.sides]
        return sum(each) + (whole(rest) if rest else 0.0)

    return sent if gpus > 1 else lambda some: 0.0


# -- the page ----------------------------------------------------------------------------------------------------------

H200 = Gpu(rate=0.65 * 790e12, memory=4.3e12, size=2)
NVLINK = Cluster(of_node=8, inside=480e9, between=331e9)
ETHERNET = Cluster(of_node=8, inside=480e9, between=2.8e9, latency=50e-6)


def fitted(net: Sequence[Layer], images: float, batch: int, memory: float) -> Gpu:
    """A GPU with the speed that was published for one: `images` a second in float32."""
    low, high = 1e11, 1e15
    for _ in range(60):
        middle = math.sqrt(low * high)
        fast = batch / alone(net, Gpu(middle, memory, 4), batch) > images
        low, high = (low, middle) if fast else (middle, high)
    return Gpu(low, memory, 4)


@dataclass(frozen=True, slots=True)
class Published:
    """A published efficiency: images/s of all GPUs over those of one, times their number."""

    what: str
    net: str
    batch: int
    images: float
    memory: float
    gpus: int
    cluster: Cluster
    overlap: bool
    efficiency: float


POINTS = [
    Published(
        "the paper: 4 Titan Black, Caffe, no overlap; 65 images/s on four; PCIe 3 at 6 GB/s",
        *("vgg_D", 64, 65 / 3.75, 336e9, 4, Cluster(4, 6e9, 6e9), False, 0.94),
    ),
    Published(
        "Caffe's docs/multigpu.md: 4 GPUs, about 3.5 times; Titan X, Caffe native 60 images/s of vgg_A at batch 64",
        *("vgg_A", 64, 60.0, 336e9, 4, Cluster(4, 6e9, 6e9), False, 0.875),
    ),
    Published(
        "TensorFlow 1.x on a DGX-1: 8 P100, batch 64, synthetic data; NCCL at 20 GB/s, no overlap",
        *("vgg_D", 64, 154.0, 732e9, 8, Cluster(8, 20e9, 20e9), False, 0.88),
    ),
    Published(
        "Horovod: 128 nodes of 4 P100, 25 GbE RoCE (2.8 GB/s of 3.1), overlapped",
        *("vgg_D", 64, 154.0, 732e9, 512, Cluster(4, 10e9, 2.8e9, 50e-6), True, 0.68),
    ),
]


def efficiency(point: Published) -> float:
    net = layers(point.net)
    gpu = fitted(net, point.images, point.batch, point.memory)
    found = step(net, gpu, point.batch, summed(point.gpus, point.cluster), point.overlap)
    return alone(net, gpu, point.batch) / found


def checks() -> list[str]:
    rows = []
    for point in POINTS:
        found = efficiency(point)
        rows.append((point.what, f"{point.efficiency:.0%}", f"{found:.0%}"))
    return markdown(("published", "efficiency", "the model's"), rows)


def leeway() -> list[str]:
    """What the checks would have said with other links, and with the other choice of overlap."""
    rows = []
    for point in POINTS:
        others = [replace(point, cluster=slower(point.cluster, times)) for times in (0.5, 2)]
        others.append(replace(point, overlap=not point.overlap))
        name = point.what.partition(":")[0]
        rows.append((name, *(f"{each:.0%}" for each in [point.efficiency, *map(efficiency, [point, *others])])))
    return markdown(("", "published", "as assumed", "links half as fast", "twice", "overlap the other way"), rows)


def slower(cluster: Cluster, times: float) -> Cluster:
    return replace(cluster, inside=cluster.inside * times, between=cluster.between * times)


def speeds() -> list[str]:
    """What one GPU makes of a batch of 64, by the model and by the estimate layer by layer of performance.md."""
    rows = []
    for letter, other in (("A", 7340), ("D", 4070), ("E", 3350)):
        found = 64 / alone(layers(f"vgg_{letter}"), H200, 64)
        rows.append((f"vgg_{letter}", f"{found:,.0f}", f"{other:,}"))
    return markdown(("net", "images/s, the model", "performance.md 1.4"), rows)


def strong(name: str, cluster: Cluster) -> list[str]:
    """The paper's batch of 256 on more and more GPUs."""
    return scaled(name, cluster, [2**n for n in range(9)], lambda gpus: 256 / gpus)


def weak(name: str, cluster: Cluster) -> list[str]:
    """A batch of 64 for each GPU: another recipe than the paper's from 8 GPUs on."""
    return scaled(name, cluster, [2**n for n in range(11)], lambda gpus: 64.0)


HEAD = ("GPUs", "batch a GPU", "images/s, exact", "", "overlapped", "", "FC last", "", "sufficient factors", "")


def scaled(name: str, cluster: Cluster, counts: Sequence[int], batch_of: Callable[[int], float]) -> list[str]:
    net = layers(name)
    base = batch_of(1) / alone(net, H200, batch_of(1))
    rows = []
    for gpus in counts:
        batch = batch_of(gpus)
        whole = summed(gpus, cluster)
        seconds = [
            step(net, H200, batch, whole, overlap=False),
            step(net, H200, batch, whole),
            step(net, H200, batch, whole, last=True),
            step(net, H200, batch, factored(H200, batch, gpus, cluster)),
        ]
        images = [gpus * batch / each for each in seconds]
        cells = [cell for each in images for cell in (f"{each:,.0f}", f"{each / base / gpus:.0%}")]
        rows.append((f"{gpus}", f"{batch:g}", *cells))
    return markdown(HEAD, rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(head), "|" + "---|" * len(head), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The tables, as docs/scaling.md has them."""
    gradients = GRADIENT * sum(layer.params for layer in layers("vgg_D"))
    parts = [
        "### One GPU",
        *speeds(),
        "### Published points",
        *checks(),
        "### What the checks hang on",
        *leeway(),
        f"### Net D, the paper's batch of 256, nodes of 8 H200 with InfiniBand ({gradients / 1e6:.0f} MB of gradients)",
        *strong("vgg_D", NVLINK),
        "### The same over 25 Gb Ethernet",
        *strong("vgg_D", ETHERNET),
        "### Net D, 64 images a GPU, InfiniBand",
        *weak("vgg_D", NVLINK),
        "### The same over 25 Gb Ethernet",
        *weak("vgg_D", ETHERNET),
    ]
    lines: list[str] = []
    for part in parts:
        lines += ["", part, ""] if part.startswith("#") else [part]
    return "\n".join(lines[1:]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md, between its marks")
    if not parser.parse_args().write:
        print(page(), end="")
        return
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + page() + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()
