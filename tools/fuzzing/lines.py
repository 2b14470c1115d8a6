"""Which lines of netc an input reaches: to keep a corpus small, and to say how much of the readers it covers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tools.fuzzing.guard import Finding, watched
from tools.fuzzing.targets import ROOT, Target

Line = tuple[str, int]


class Tracer:
    """Collects the lines run in netc's files whose names begin with one of `prefixes` ("netc/prototxt/bind.py")."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self.prefixes = tuple(prefixes)
        self.seen: set[Line] = set()
        self._names: dict[str, str] = {}

    def run(self, target: Target, data: bytes) -> set[Line]:
        """The lines that this input reaches."""
        self.seen = set()
        sys.settrace(self._call)
        try:
            watched(target.run, data)
        except Finding:
            pass
        finally:
            sys.settrace(None)
        return self.seen

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        name = self._names.get(file)
        if name is None:
            name = self._names[file] = name_of(file)
        return self._line if name.startswith(self.prefixes) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.seen.add((self._names[frame.f_code.co_filename], frame.f_lineno))
        return self._line


def name_of(file: str) -> str:
    """ "netc/runtime/net.py" for the file of a module, whichever way it was imported; "" outside the repository."""
    real = os.path.realpath(file)
    inside = os.path.relpath(real, ROOT) if real.startswith(str(ROOT)) else ""
    return inside if not inside.startswith(("runtime", "proto", "models")) else f"netc/{inside}"


def minimise(target: Target, given: Iterable[bytes], candidates: Iterable[bytes]) -> list[bytes]:
    """Those candidates, the shortest first, that reach a line which none before them and none of `given` did."""
    tracer, kept = Tracer(target.reads), []
    reached = set[Line]().union(*(tracer.run(target, data) for data in given))
    for data in sorted(set(candidates), key=lambda data: (len(data), data)):
        lines = tracer.run(target, data)
        if not lines <= reached:
            reached |= lines
            kept.append(data)
    return kept


def coverage(target: Target, inputs: Iterable[bytes]) -> dict[str, tuple[int, int]]:
    """File → (lines inside functions that the inputs reach, all such lines)."""
    tracer, reached = Tracer(target.reads), set[Line]()
    for data in inputs:
        reached |= tracer.run(target, data)
    table = {}
    for path in sorted(ROOT.rglob("*.py")):
        if (name := name_of(str(path))).startswith(target.reads):
            lines = _lines_of(path)
            table[name] = (len(lines & {line for file, line in reached if file == name}), len(lines))
    return table


def _lines_of(path: Path) -> set[int]:
    """The lines inside functions; those outside run when the module is imported."""
    lines: set[int] = set()
    todo: list[CodeType] = [compile(path.read_text(), str(path), "exec")]
    while todo:
        code = todo.pop()
        if code.co_flags & 1:  # CO_OPTIMIZED: a function, no class body or module
            lines |= {line for _, _, line in code.co_lines() if line and line != code.co_firstlineno}
        todo += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    return lines
