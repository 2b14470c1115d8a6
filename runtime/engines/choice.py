"""Which engine is the fastest here, found by a short measurement, and remembered in the cache."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from netc.errors import NetcError
from netc.files.durable import write_whole
from netc.files.opening import open_regular
from netc.graph.ir import Graph
from netc.runtime.engines import cache
from netc.runtime.engines.known import ENGINES, Engine, candidates
from netc.runtime.engines.plan import Plan
from netc.runtime.net.clock import Clock
from netc.runtime.net.steps import Route

SECONDS = 0.5
LEAST, MOST = 3, 30
"""How long each engine is measured, and in how many passes."""


class Runs(Protocol):
    """A net that runs plans (`EngineNet`)."""

    precision: str
    clock: Clock
    graph: Graph

    def say(self, text: str) -> None: ...

    def plan(self, engine: Engine, route: Route, quiet: bool = False) -> Plan: ...

    def run_plan(self, plan: Plan, values: dict[str, Tensor], route: Route) -> dict[str, Tensor]: ...


def fastest(net: Runs, values: Mapping[str, Tensor], route: Route) -> Plan:
    """The plan of the engine that takes the least time for these inputs. What fails, or gives other numbers, is left
    out, one that is remembered too; torch is always among them in fp32. Raises the last NetcError where nothing is
    left."""
    engines = candidates(net.precision, str(net.clock.step.device))
    key = _key(net, values, route, [engine.version for engine in engines])
    if known := _remembered(key, [engine.name for engine in engines]):
        with suppress(NetcError):
            plan = net.plan(ENGINES[known], route)
            net.run_plan(plan, dict(values), route)
            return plan
    times: dict[str, float] = {}
    plans: dict[str, Plan] = {}
    failed: NetcError | None = None
    for engine in engines:
        try:
            plans[engine.name] = net.plan(engine, route, quiet=True)
            times[engine.name] = measured(net, plans[engine.name], values, route)
        except NetcError as error:
            net.say(f"{engine.name} is left out: {error.message}")
            failed = error
    if not times:
        raise failed or NetcError("R772", f"no engine here has {net.precision}")
    best = min(times, key=times.__getitem__)
    _remember(key, best, times)
    return plans[best]


def measured(net: Runs, plan: Plan, values: Mapping[str, Tensor], route: Route) -> float:
    """Seconds of a pass, the median; the first one is not counted."""
    net.run_plan(plan, dict(values), route)
    _wait(net)
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter() - begun < SECONDS):
        start = time.perf_counter()
        net.run_plan(plan, dict(values), route)
        _wait(net)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def _wait(net: Runs) -> None:
    if net.clock.step.device.type == "cuda":
        torch.cuda.synchronize()


def _key(net: Runs, values: Mapping[str, Tensor], route: Route, versions: list[str]) -> str:
    shapes = [(name, tuple(values[name].shape)) for name in route.needed]
    text = net.graph.param.SerializeToString(deterministic=True)
    device = (str(net.clock.step.device), torch.get_num_threads(), cache.processor())
    return cache.digest(text, route.wanted, shapes, net.precision, versions, device)


def _file(key: str) -> Path:
    return cache.root() / "choices" / f"{key}.json"


def _remembered(key: str, names: list[str]) -> str | None:
    """What a file of the cache says, if it is whole and names an engine that is here."""
    try:
        with open_regular(_file(key)) as file:
            found = json.loads(file.read(1 << 16))
    except (OSError, ValueError, RecursionError, NetcError):
        return None
    best = found.get("engine") if isinstance(found, dict) else None
    return best if isinstance(best, str) and best in names else None


def _remember(key: str, best: str, times: Mapping[str, Any]) -> None:
    path = _file(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [json.dumps({"engine": best, "seconds": times}).encode()])
    except (OSError, NetcError):
        return  # it is measured again
