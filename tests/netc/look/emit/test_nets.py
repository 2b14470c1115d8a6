"""Emitted nets against the running ones: netc's own models, the nets Caffe's structure is known of, other people's."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import netc
from netc.check.analyse import analyse
from netc.errors import NetcError
from netc.files.shipped import FOLDER, names
from netc.graph.ir import Graph
from netc.look.emit import emit
from tests.netc.look.emit.running import check_structure, compare, formed

EXACT = 1e-6
WITH_LRN = 2e-5
"""torch's LRN adds up its neighbours in another order; a difference of 1e-7 grows on its way through the net."""


def tolerance(graph: Graph) -> float:
    return WITH_LRN if any(node.type == "LRN" for node in graph.nodes) else EXACT


def both(name: str) -> Iterator[Graph]:
    """A model's nets: the one to deploy, and the training net in both phases."""
    yield netc.compile_net(FOLDER / name / "deploy.prototxt", "TEST")
    for phase in ("TRAIN", "TEST"):
        yield netc.compile_net(FOLDER / name / "train_val.prototxt", phase)


@pytest.mark.parametrize("name", names())
def test_a_model_has_the_structure_of_the_running_net(name: str) -> None:
    for graph in both(name):
        code = check_structure(graph)
        assert code == emit(graph).code, "the same each time"
        assert "F.max_pool2d(x, 2, stride=2, ceil_mode=True)" in code


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("mini")])
def test_a_small_model_gives_the_same_numbers(name: str) -> None:
    for graph in both(name):
        assert compare(graph) <= EXACT


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("mini")])
def test_a_full_model_gives_the_same_numbers(name: str) -> None:
    graph = netc.compile_net(FOLDER / name / "deploy.prototxt", "TEST")
    assert compare(graph) <= tolerance(graph)


# -- the nets whose structure real Caffe wrote down --------------------------------------------------------------------


def structures(shared: Path) -> list[Path]:
    return sorted(path.with_suffix(".prototxt") for path in (shared / "goldens/structure").glob("*.json"))


def compiled(path: Path) -> Graph:
    return netc.compile_net(path, json.loads(path.with_suffix(".json").read_text())["phase"])


def test_the_structure_nets_have_the_structure_of_the_running_net(shared: Path) -> None:
    found = structures(shared)
    assert len(found) > 20
    for path in found:
        check_structure(compiled(path))


def test_small_structure_nets_give_the_same_numbers(shared: Path) -> None:
    graphs = [compiled(path) for path in structures(shared)]
    small = [graph for graph in graphs if analyse(graph).macs < 3e8]
    assert len(small) > 10
    for graph in small:
        assert compare(graph) <= tolerance(graph), graph.path


@pytest.mark.slow
def test_all_structure_nets_give_the_same_numbers(shared: Path) -> None:
    for path in structures(shared):
        graph = compiled(path)
        assert compare(graph) <= tolerance(graph), path


# -- other people's nets -----------------------------------------------------------------------------------------------


def zoo(shared: Path, step: int = 1) -> Iterator[Graph]:
    """The nets without data layers that Caffe built, or every so manieth of them, each once."""
    seen: set[bytes] = set()
    for row in json.loads((shared / "zoo/structure.json").read_text())[::step]:
        try:
            graph = netc.compile_net(shared / "zoo" / row["path"], "TEST")
        except NetcError:
            continue
        key = graph.param.SerializeToString(deterministic=True)
        if key not in seen:
            seen.add(key)
            yield graph


def test_a_sample_of_the_zoo(shared: Path, tmp_path: Path) -> None:
    """Structure and form of every 25th net, numbers of the small ones among them."""
    ran = 0
    for number, graph in enumerate(zoo(shared, 25)):
        (tmp_path / f"net{number}.py").write_text(check_structure(graph))
        if analyse(graph).macs < 3e8:
            ran += 1
            assert compare(graph) <= tolerance(graph), graph.path
    assert ran > 2
    assert formed(tmp_path) == ""


@pytest.mark.slow
def test_the_whole_zoo(shared: Path, tmp_path: Path) -> None:
    for number, graph in enumerate(zoo(shared)):
        (tmp_path / f"net{number}.py").write_text(check_structure(graph))
        assert compare(graph) <= tolerance(graph), graph.path
    assert formed(tmp_path) == ""


def test_the_code_of_a_model_is_formed_and_typed(tmp_path: Path) -> None:
    for name in names():
        for number, graph in enumerate(both(name)):
            (tmp_path / f"{name}_{number}.py").write_text(emit(graph).code)
    assert formed(tmp_path) == ""
    for path in tmp_path.glob("*.py"):
        untyped = [
            node.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef) and (node.returns is None or any(not a.annotation for a in rest(node)))
        ]
        assert untyped == []


def rest(node: ast.FunctionDef) -> list[ast.arg]:
    return [arg for arg in node.args.args if arg.arg not in ("self", "ctx")]
