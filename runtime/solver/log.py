"""The training log in Caffe's form, so that its own parse_log.py and everybody's regular expressions go on working.

    I1122 12:35:25.926244 26213 solver.cpp:239] Iteration 0 (100 iter/s, 0.01s/1 iters), loss = 2.31829

The date has glog's older form (month and day): parse_log.py cannot read the newer one with a year in it. Every line
carries the prefix, since parse_log.py wants a time on each line after the first iteration.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import IO, Any

from torch import Tensor

from netc.errors import printable

SHOWN = 256
"""Values of one output blob that are printed at most (Caffe prints them all, a whole batch of softmax included)."""


class _Nowhere(io.TextIOBase):
    """Takes all that is written, and keeps none of it."""

    def write(self, text: str) -> int:
        return len(text)


def nowhere() -> Log:
    """The log of a process that leaves it to another to tell."""
    return Log(_Nowhere())  # type: ignore[arg-type]


class Log:
    """Writes log lines to `stream` (None: nowhere). `source` is the file and line of Caffe that prints such a line."""

    def __init__(self, stream: IO[str] | None) -> None:
        self.stream = stream
        self._thread = threading.get_native_id()

    def info(self, source: str, message: str) -> None:
        self._write("I", source, message)

    def warn(self, source: str, message: str) -> None:
        self._write("W", source, message)

    def _write(self, level: str, source: str, message: str) -> None:
        if self.stream is None:
            return
        try:
            self.stream.write(self.lines(level, source, message))
            self.stream.flush()
        except (OSError, ValueError):  # nobody reads the log any more, or it is closed: training goes on
            self.stream = None

    def lines(self, level: str, source: str, message: str) -> str:
        """The log lines of a message, the prefix on each."""
        head = f"{level}{datetime.now():%m%d %H:%M:%S.%f} {self._thread} {source}] "
        return "".join(f"{head}{_shown(line)}\n" for line in message.split("\n"))

    def training(self, iteration: int, speed: tuple[float, int], loss: float) -> None:
        seconds, iterations = speed
        rate = iterations / seconds if seconds > 0 else 0.0
        self.info(
            "solver.cpp:239",
            f"Iteration {iteration} ({rate:g} iter/s, {seconds:g}s/{iterations} iters), loss = {loss:g}",
        )

    def outputs(self, kind: str, source: str, outputs: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """One line a value, numbered through all outputs: `kind` is "Train" or "Test"."""
        for number, text in enumerate(output_lines(outputs, weights)):
            self.info(source, f"    {kind} net output #{number}: {text}")


def _shown(line: str) -> str:
    """A line without what drives terminals; tabs stay, `caffe time` has some."""
    return "\t".join(map(printable, line.split("\t")))


def output_lines(outputs: Mapping[str, Any], weights: Mapping[str, float]) -> Iterator[str]:
    """'loss = 0.69 (* 1 = 0.69 loss)' for each value of each output, in the order given."""
    for name, value in outputs.items():
        weight = weights.get(name, 0.0)
        for x in values_of(value)[:SHOWN]:
            yield f"{name} = {x:g}" + (f" (* {weight:g} = {weight * x:g} loss)" if weight else "")


def values_of(value: Any) -> Sequence[float]:
    """The values of an output as a flat list."""
    if isinstance(value, Tensor):
        return [float(x) for x in value.detach().flatten()[:SHOWN].tolist()]
    return [float(value)]


def loss_weights(graph: Any) -> dict[str, float]:
    """{top: loss weight} of the tops that count as a loss, under the names the net returns them by."""
    return {top: weight for node in graph.nodes for top, weight in zip(node.top_names, node.loss_weights) if weight}


def stderr() -> Log:
    """The log of the command line."""
    return Log(sys.stderr)
