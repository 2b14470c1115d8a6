"""Dependencies run one way: proto ← netc ← runtime ← netc.cli, downwards through the rooms of netc, without a circle
between modules; and the compiler never loads torch to be imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {"proto": 0, "netc": 1, "runtime": 2, "cli": 3}
"""A file may import from its own layer and from those below it."""

ASKS_THE_MACHINE = ("netc.check.facts", "netc.check.probe")
"""What `netc check` asks of the data, inside functions: the compiler itself never opens a database."""

FOR_TYPES = ("netc",)
"""The door, which says of what it finds when it is asked what type it has."""


def sources() -> list[Path]:
    folders = [ROOT / "proto", ROOT / "runtime", ROOT / "netc"]
    return sorted(path for folder in folders for path in folder.rglob("*.py") if not _through_a_link(path))


def _through_a_link(path: Path) -> bool:
    return path.resolve() != path


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "netc" else ("netc", *parts)).removesuffix(".__init__")


def layer_of(module: str) -> int | None:
    """The layer of one of our modules; None for anybody else's."""
    parts = module.split(".")
    if parts[0] != "netc":
        return None
    if module == "netc.__main__":
        return LAYERS["cli"]
    return LAYERS.get(parts[1], LAYERS["netc"]) if len(parts) > 1 else LAYERS["netc"]


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that is imported anywhere in a file, functions and type checks included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: -(node.level - 1) or None]) if node.level else ""
            full = ".".join(part for part in (base, node.module) if part)
            yield from ((node.lineno, f"{full}.{alias.name}") for alias in node.names)


def at_import_time(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when a file is imported, those inside `if`, `try` and classes too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not _for_types_only(child):
            yield from at_import_time(child)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_a_file_imports_only_from_its_layer_and_below(path: Path) -> None:
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    nodes = at_import_time(tree) if module in (*ASKS_THE_MACHINE, *FOR_TYPES) else [tree]
    found = [one for node in nodes for one in imports(node, package)]
    above = [f"{path}:{line}: {name}" for line, name in found if (layer_of(name) or 0) > (layer_of(module) or 0)]
    assert above == []


# -- rooms and circles -------------------------------------------------------------------------------------------------

ROOMS = ["errors", "files", "prototxt", "upgrade", "pycaffe", "layers", "plugin", "graph", "passes", "weights"]
ROOMS += ["solver", "check", "look", "cli"]
"""The rooms of netc/: a file imports from its own room and from those before it, inside functions too."""

UPWARDS = {
    ("netc.pycaffe.blob", "netc.layers.base"): "shapes are the layers', and the type Python calls pycaffe",
    ("netc.pycaffe.call", "netc.layers.base"): "the layer that it is called for, likewise",
}
"""(module, what it imports) against the order of the rooms → why."""

CIRCLES: dict[frozenset[str], str] = {}
"""Modules that import one another, in a circle → why."""


@cache
def imported() -> dict[str, frozenset[str]]:
    """Module → the modules of ours that it imports anywhere: in functions and for types alone, too."""
    known = {module_of(path): path for path in sources()}
    return {module: frozenset(_modules(path, known)) - {module} for module, path in known.items()}


def _modules(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    nodes = at_import_time(tree) if module in FOR_TYPES else [tree]
    for _, name in (one for node in nodes for one in imports(node, package)):
        parts = name.split(".")
        longest = next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), None)
        if longest is not None:
            yield longest


def circles(graph: Mapping[str, frozenset[str]]) -> set[frozenset[str]]:
    """The sets of modules of which each imports all the others, directly or not."""
    reached = {module: _reached(graph, module) for module in graph}
    return {
        frozenset({module, *(other for other in reached[module] if module in reached[other])})
        for module in graph
        if module in reached[module]
    }


def _reached(graph: Mapping[str, frozenset[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = graph[waiting.pop()] - found
        found |= fresh
        waiting += fresh
    return found


def test_no_circle_between_modules() -> None:
    assert circles(imported()) == set(CIRCLES)


def test_a_circle_is_found() -> None:
    graph = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("bd"), "d": frozenset[str]()}
    assert circles(graph) == {frozenset("bc")}


def test_rooms_import_downwards() -> None:
    pairs = {(module, other) for module, others in imported().items() for other in others}
    inside = {pair for pair in pairs if {room_of(name) for name in pair} <= set(ROOMS)}
    upwards = {
        (module, other) for module, other in inside if ROOMS.index(room_of(module)) < ROOMS.index(room_of(other))
    }
    assert upwards == set(UPWARDS)


def room_of(module: str) -> str:
    """The room of netc that a module is in; that of proto, runtime and netc itself is none of `ROOMS`."""
    return module.partition(".")[2].partition(".")[0]


def test_nothing_stands_beside_the_rooms() -> None:
    loose = [path for folder in ("netc", "runtime") for path in (ROOT / folder).glob("*.py")]
    assert sorted(str(path.relative_to(ROOT)) for path in loose) == [
        "netc/__init__.py",
        "netc/__main__.py",
        "runtime/__init__.py",
    ]
    folders = {path.name for path in (ROOT / "netc").iterdir() if path.is_dir() and not path.is_symlink()}
    assert folders - {"__pycache__"} == set(ROOMS)


# -- torch -------------------------------------------------------------------------------------------------------------

FORWARD_ONLY = ("netc.layers.functions.", "netc.layers._python", "netc.layers._uncompiled")
"""Functions and classes that need torch: `forward` imports them, and emitted files contain their text."""


def compiler_sources() -> list[Path]:
    return [p for p in sources() if layer_of(module_of(p)) in (0, 1) and not _may_use_torch(module_of(p))]


def _may_use_torch(module: str) -> bool:
    return module.startswith((*FORWARD_ONLY, "netc.look.emit.helpers._"))


@pytest.mark.parametrize("path", compiler_sources(), ids=module_of)
def test_the_compiler_loads_no_torch(path: Path) -> None:
    nodes = at_import_time(ast.parse(path.read_text()))
    named = [(line, name) for node in nodes for line, name in imports(node, "netc")]
    assert [f"{path}:{line}" for line, name in named if name.split(".")[0] == "torch"] == []


SOURCE = """
try:
    import torch.nn
except ImportError:
    pass
def f():
    import torch
    from netc import runtime
if TYPE_CHECKING:
    from ..cli import x
from . import y
"""


def test_the_rules_see_every_import() -> None:
    tree = ast.parse(SOURCE)
    everywhere = {name for _, name in imports(tree, "netc.layers")}
    assert everywhere == {"torch.nn", "torch", "netc.runtime", "netc.cli.x", "netc.layers.y"}
    assert [name for node in at_import_time(tree) for _, name in imports(node, "netc.layers")] == [
        "torch.nn",
        "netc.layers.y",
    ]


def test_the_layers_are_told_apart() -> None:
    modules = ["netc.proto", "netc", "netc.errors.NetcError", "netc.runtime.net.module", "netc.cli", "netc.__main__"]
    assert [layer_of(module) for module in modules] == [0, 1, 1, 2, 3, 3]
    assert layer_of("torch.netc") is None
