"""What each engine and precision does with a net here: `netc time --engines`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch

from netc.errors import NetcError
from netc.runtime.engines.choice import measured
from netc.runtime.engines.known import ENGINES, PRECISIONS, TORCH, Engine, chosen
from netc.runtime.engines.net import EngineNet

PAGE = 4096


@dataclass(slots=True)
class Row:
    """`ms`: of a pass, the median. `images_per_s`: of the batch's first axis. `difference`: from the exact walk, the
    largest, relative to a blob's largest value. `memory`: bytes that the process grew by. `start_s`: until the first
    pass was done, its proof included. `why`: why there are no figures."""

    engine: str
    precision: str
    ms: float | None = None
    images_per_s: float | None = None
    difference: float | None = None
    memory: int | None = None
    start_s: float | None = None
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rows(net: EngineNet, inputs: dict[str, torch.Tensor], each: Callable[[Row], None]) -> list[Row]:
    """A row for each engine, in each precision that it has. `each` hears of them as they come."""
    found = []
    for engine, precision in _pairs(str(net.clock.step.device)):
        row = _row(net, engine, precision, inputs)
        found.append(row)
        each(row)
    return found


def _pairs(device: str) -> Iterator[tuple[Engine, str]]:
    gpu = not device.startswith("cpu")
    for engine in ENGINES.values():
        has = engine.on_gpu if gpu else engine.precisions
        has = has if engine.packages or engine.name != TORCH else ("fp32",)
        yield from ((engine, precision) for precision in PRECISIONS if precision in has)


def _row(net: EngineNet, engine: Engine, precision: str, inputs: dict[str, torch.Tensor]) -> Row:
    row = Row(engine.name, precision)
    net.__dict__["precision"] = precision
    route = net.route_of_outputs()
    before, start = _resident(), time.perf_counter()
    try:
        chosen(engine.name, precision, str(net.clock.step.device))
        with torch.no_grad():
            plan = net.plan(engine, route, quiet=True)
            net.run_plan(plan, dict(inputs), route)
            row.start_s = time.perf_counter() - start
            seconds = measured(net, plan, inputs, route)
    except NetcError as error:
        row.start_s = None
        row.why = f"{error.message}; {error.hint}" if error.hint else error.message
        return row
    row.ms, row.difference = 1000 * seconds, max(plan.differences.values(), default=0.0)
    row.images_per_s = max((x.shape[0] for x in inputs.values() if x.dim()), default=1) / seconds
    row.memory = max(0, _resident() - before)
    return row


def _resident() -> int:
    with suppress(OSError, ValueError, IndexError), open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE
    return 0


def lines(found: list[Row]) -> list[str]:
    """The table, for a reader."""
    head = f"{'engine':<12} {'precision':<9} {'ms':>9} {'images/s':>9} {'difference':>10} {'memory':>9} {'start-up':>9}"
    return [head, *map(line, found)]


def line(row: Row) -> str:
    if row.ms is None or row.images_per_s is None:
        return f"{row.engine:<12} {row.precision:<9} {row.why}"
    memory = f"{(row.memory or 0) / 1e6:.0f} MB"
    return (
        f"{row.engine:<12} {row.precision:<9} {row.ms:>9.2f} {row.images_per_s:>9.1f} {row.difference:>10.1e} "
        f"{memory:>9} {row.start_s:>7.2f} s"
    )
