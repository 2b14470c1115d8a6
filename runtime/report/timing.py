"""How long each layer of a net takes, forward and backward (`caffe time`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from netc.errors import NetcError
from netc.layers.base import Shape, count
from netc.pycaffe.blob import Values
from netc.runtime.net.rand import key, uniform_tensor
from netc.runtime.pycaffe.net import Net

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Span:
    """A layer's pass: "forward" or "backward", from `start` on, in seconds."""

    layer: int
    kind: str
    start: float
    seconds: float


@dataclass(slots=True)
class Timing:
    """`names`, `types`: of the layers, in order. `passes`: the spans of each iteration. `loss`: of the first pass.
    `stand_ins`: data layers for whose data random numbers stand."""

    names: list[str]
    types: list[str]
    loss: float = 0.0
    stand_ins: list[str] = field(default_factory=list)
    passes: list[list[Span]] = field(default_factory=list)

    def mean(self, kind: str, layer: int | None = None) -> float:
        """Seconds of a pass of one layer, or of all, on average over the iterations."""
        spans = (span for spans in self.passes for span in spans if span.kind == kind)
        return sum(s.seconds for s in spans if layer in (None, s.layer)) / max(1, len(self.passes))

    def totals(self) -> list[float]:
        """Seconds of each iteration, forward and backward together."""
        return [spans[-1].start + spans[-1].seconds - spans[0].start for spans in self.passes if spans]


def measure(net: Net, iterations: int, each: Callable[[int, float], None] | None = None) -> Timing:
    """Run a net so many times, forward and backward, after one pass that is not counted. Inputs hold random numbers.

    `each(number, seconds)` hears of every iteration. On a GPU the clock waits for it after each layer.
    """
    works = net.works
    found = Timing([work.step.node.name for work in works], [work.step.node.type for work in works])
    found.stand_ins = _fill_inputs(net)
    clock = _clock(net)
    found.loss = net._forward(0, len(works) - 1)
    net._backward(len(works) - 1, 0)
    for number in range(iterations):
        net.clear_param_diffs()
        found.passes.append(list(_spans(net, clock)))
        if each is not None:
            each(number, found.totals()[-1])
    return found


def _spans(net: Net, clock: Clock) -> Iterator[Span]:
    last = len(net.works) - 1
    steps: list[tuple[str, int, Callable[[int, int], Any]]] = []
    steps += [("forward", index, net._forward) for index in range(last + 1)]
    steps += [("backward", index, net._backward) for index in range(last, -1, -1)]
    for kind, index, run in steps:
        start = clock()
        run(index, index)
        yield Span(index, kind, start, clock() - start)


def _clock(net: Net) -> Clock:
    if net.device == "cpu":
        return time.perf_counter

    def waited() -> float:
        torch.cuda.synchronize(net.device)
        return time.perf_counter()

    return waited


def _fill_inputs(net: Net) -> list[str]:
    """Numbers from 0 to 1: zeros would be faster than what a net sees in use. Returns the names of the layers for whose
    data they stand because these are not here (labels are 0), or would be given by a program (MemoryData)."""
    found = []
    for index, work in enumerate(net.works):
        node = work.step.node
        if node.layer.is_source and (node.layer.is_input or not _reads(net, index)):
            tops = work.tops if node.layer.is_input else work.tops[:1]
            for blob, name in zip(tops, node.tops):
                blob.data[...] = _numbers(name, blob.shape)
            if not node.layer.is_input:
                net.held.add(node.name)
                found.append(node.name)
    return found


def _reads(net: Net, layer: int) -> bool:
    """Whether the data of a source are here. Raises what is wrong with them, if they are."""
    try:
        net._feed([layer])
    except NetcError as error:
        if error.code[0] != "F" and error.code != "R601":
            raise
        return False
    return True


def _numbers(name: str, shape: Shape) -> Values:
    values: Values = uniform_tensor(torch.tensor(key(0, name) >> 1), 0, 1, count(shape)).reshape(shape).numpy()
    return values


def trace(timing: Timing) -> dict[str, Any]:
    """The spans as a profile that Perfetto and chrome://tracing open."""
    first = timing.passes[0][0].start if timing.passes and timing.passes[0] else 0.0
    events = [
        {
            "name": timing.names[span.layer],
            "cat": span.kind,
            "ph": "X",
            "ts": round((span.start - first) * 1e6, 3),
            "dur": round(span.seconds * 1e6, 3),
            "pid": 1,
            "tid": 1,
            "args": {"type": timing.types[span.layer], "pass": span.kind, "iteration": number},
        }
        for number, spans in enumerate(timing.passes)
        for span in spans
    ]
    return {"displayTimeUnit": "ms", "traceEvents": events}


def table(timing: Timing) -> Sequence[dict[str, Any]]:
    """A row for each layer: name, type, milliseconds forward and backward."""
    return [
        {
            "name": name,
            "type": kind,
            "forward_ms": 1000 * timing.mean("forward", index),
            "backward_ms": 1000 * timing.mean("backward", index),
        }
        for index, (name, kind) in enumerate(zip(timing.names, timing.types))
    ]
