"""The structure of a checkout in figures: `python -m tests.structure [ROOT]` prints the table of docs/design.md.

Lines a package, literals of layer types' names outside their rooms, import circles, lengths of functions.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.test_layering import circles
from tests.test_type_names import literals

PRODUCT = ("netc", "runtime", "proto", "tools")


def files(root: Path) -> list[Path]:
    """The product's Python files, each once (netc/runtime and its like are links)."""
    found = (path for name in PRODUCT for path in sorted((root / name).rglob("*.py")))
    return [path for path in found if path.resolve() == root.resolve() / path.relative_to(root)]


def package(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def functions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(lines, name) of each function and method, decorators not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.end_lineno - node.lineno + 1, node.name


# -- imports -----------------------------------------------------------------------------------------------------------


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts if parts[0] == "netc" else ("netc", *parts)).removesuffix(".__init__")


def imports(root: Path) -> dict[str, frozenset[str]]:
    """Module → the modules of the product that it imports, anywhere in it: in functions and for types too."""
    modules = {module_of(path, root): path for path in files(root) if package(path, root).partition("/")[0] != "tools"}
    found: dict[str, set[str]] = {}
    for name, path in modules.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & modules.keys()
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= (whole | {node.module}) & modules.keys() if not whole <= modules.keys() else whole
        found[name].discard(name)
    return {name: frozenset(others) for name, others in found.items()}


# -- the table ---------------------------------------------------------------------------------------------------------


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    sys.path.insert(0, str(root))
    from netc.layers import registry

    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files(root)}
    sizes: Counter[str] = Counter()
    for path in trees:
        sizes[package(path, root)] += lines(path)
    for name, count in sorted(sizes.items()):
        print(f"{name:24} {count:6,}")
    print(f"{'all':24} {sum(sizes.values()):6,}")
    lengths = sorted(found for tree in trees.values() for found in functions(tree))
    print("functions", len(lengths), "median", median(length for length, _ in lengths), "longest", lengths[-1])
    outside = {
        path: list(literals(path.read_text(encoding="utf-8"), set(registry())))
        for path in trees
        if path.relative_to(root).parts[0] in ("netc", "runtime")
        and not any(part in ("layers", "emit", "upgrade") for part in path.relative_to(root).parts)
        and path.name != "forks.py"
    }
    print("literals", sum(map(len, outside.values())), "in", sum(map(bool, outside.values())), "files")
    print("circles", sorted(map(sorted, circles(imports(root)))))


if __name__ == "__main__":
    main()
