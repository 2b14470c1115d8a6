"""Nobody outside netc/layers knows a layer type by its name: its class tells what others ask (netc/layers/facts.py).

The names that are left stand in `LEFT`, each with its reason.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from netc.layers import registry

ROOT = Path(__file__).resolve().parents[1]
EXEMPT = (
    "netc/layers",  # the types themselves
    "netc/upgrade",  # what the older formats call them
    "netc/prototxt/forks.py",  # what forks call theirs
)
LEFT = {
    ("netc/look/draw/words.py", "Convolution"): (1, "a heading of the legend"),
    ("netc/look/draw/words.py", "Pooling"): (1, "a heading of the legend"),
    ("netc/look/draw/words.py", "Data"): (2, "a heading of the legend; the ending of a name that netc does not know"),
    ("netc/cli/_main.py", "Data"): (1, "a heading of the help"),
    ("netc/prototxt/unknown.py", "Parameter"): (1, "the ending of a message's name"),
    ("netc/pycaffe/net_spec.py", "Parameter"): (1, "the ending of a message's name"),
}
"""(file, name): (how often, why)."""
MOST = 25


def literals(source: str, types: Collection[str]) -> Iterator[tuple[int, str]]:
    """(line, name) of every string that is the name of a type, or a list of such names; docstrings are left out."""
    tree = ast.parse(source)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            words = node.value.split(" ")
            if all(word in types for word in words):
                yield from ((node.lineno, word) for word in words)


def own_types() -> set[str]:
    return {name for name, cls in registry().items() if cls.plugin is None and cls.__module__.startswith("netc.layers")}


def test_type_names_outside_the_layers_are_those_listed() -> None:
    types, found = own_types(), Counter[tuple[str, str]]()
    for path in sorted(path for folder in ("netc", "runtime") for path in (ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if path.resolve() == path and not name.startswith(EXEMPT):
            found.update((name, word) for _, word in literals(path.read_text(), types))
    listed = Counter({key: count for key, (count, _) in LEFT.items()})
    assert found - listed == Counter(), "declare on the class what you ask of the type (netc/layers/facts.py)"
    assert listed - found == Counter(), "no longer there: take them out of LEFT"


def test_few_names_are_left_and_each_has_its_reason() -> None:
    assert sum(count for count, _ in LEFT.values()) <= MOST
    assert all(why for _, why in LEFT.values())


@pytest.mark.parametrize(
    "planted, names",
    [
        ('if node.type == "ReLU": pass', ["ReLU"]),
        ('PASSED = frozenset({"Flatten", "Split"})', ["Flatten", "Split"]),
        ('RULES = {"Pooling": rule}', ["Pooling"]),
        ('NAMES = "Convolution InnerProduct".split()', ["Convolution", "InnerProduct"]),
        ('match kind:\n    case "Data": pass', ["Data"]),
        ('def f() -> None:\n    """Dropout"""\n    return kind != "LRN"', ["LRN"]),
        ('message = "ReLU or Dropout"', []),
        ('kind = "relu"', []),
    ],
)
def test_a_planted_name_is_found(planted: str, names: list[str]) -> None:
    assert sorted(word for _, word in literals(planted, own_types())) == sorted(names)
