"""Who made what a layer reads, against a search upwards through the names of the blobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc import NetcError, compile_net
from netc.graph.compile import compile_draft
from netc.graph.edges import NOWHERE, Bottom, Top, resolve
from netc.graph.filter import state_of
from netc.graph.ir import Graph
from tests.netc.graph.nets import files
from tests.zoo.shapes import shapes_of


def above(graph: Graph, index: int, blob: str, through_splits: bool) -> Top:
    """The top that a blob is in front of a node: the nearest one of that name above it, or of the name it copies."""
    for number in range(index - 1, -1, -1):
        node = graph.nodes[number]
        if blob in node.tops:
            if not (through_splits and node.type == "Split"):
                return number, node.tops.index(blob)
            (blob,) = node.bottoms
    raise AssertionError(f"nobody makes {blob}")


def check(graph: Graph) -> None:
    readers: dict[Top, list[Bottom]] = {}
    for index, node in enumerate(graph.nodes):
        writers = [above(graph, index, blob, False) for blob in node.bottoms]
        makers = [above(graph, index, blob, True) for blob in node.bottoms]
        assert graph.edges.writers[index] == writers, node.place
        assert graph.edges.makers[index] == makers, node.place
        for position, top in enumerate(makers if node.type != "Split" else ()):
            readers.setdefault(top, []).append((index, position))
    assert graph.edges.readers == readers, graph.path
    for blob in graph.shapes:
        assert graph.edges.last[blob] == above(graph, len(graph.nodes), blob, True), graph.path


def compare(shared: Path, step: int) -> int:
    count = 0
    for file in files(shared, step):
        for phase in (0, 1):
            try:
                draft = file.draft()
                graph = compile_draft(draft, state_of(draft, phase), shapes_of)
            except NetcError:
                continue
            check(graph)
            count += 1
    return count


def test_a_sample_of_the_shared_nets(shared: Path) -> None:
    assert compare(shared, 41) > 150


@pytest.mark.slow
def test_all_shared_nets(shared: Path) -> None:
    assert compare(shared, 1) > 2100


NET = """
layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "own" type: "Split" bottom: "x" top: "a" top: "b" }
layer { name: "r" type: "ReLU" bottom: "a" top: "c" }
layer { name: "s" type: "Sigmoid" bottom: "c" top: "c" }
layer { name: "t" type: "TanH" bottom: "c" top: "c" }
layer { name: "e" type: "Eltwise" bottom: "c" bottom: "b" bottom: "y" top: "e" }
layer { name: "f" type: "Flatten" bottom: "e" top: "f" }
layer { name: "g" type: "Power" bottom: "e" top: "g" }
"""


def test_in_place_layers_and_splits_of_the_file_and_of_netc() -> None:
    graph = compile_net(NET, "TEST")
    assert [node.name for node in graph.nodes] == ["in", "own", "r", "s", "t", "e", "e_e_0_split", "f", "g"]
    edges = graph.edges
    assert edges is graph.edges
    assert edges.writers[5] == [(4, 0), (1, 1), (0, 1)]
    assert edges.makers[5] == [(4, 0), (0, 0), (0, 1)]
    assert edges.readers[0, 0] == [(2, 0), (5, 1)]
    assert edges.readers[5, 0] == [(7, 0), (8, 0)]
    assert edges.last == {
        **{"x": (0, 0), "y": (0, 1), "a": (0, 0), "b": (0, 0), "c": (4, 0), "e": (5, 0)},
        **{"e_e_0_split_0": (5, 0), "e_e_0_split_1": (5, 0), "f": (7, 0), "g": (8, 0)},
    }
    maker, above_f = edges.maker(8), edges.above(7, lambda node: node.type == "Eltwise")
    assert maker is not None
    assert maker.name == "e"
    assert edges.maker(0) is edges.maker(8, 1) is None
    assert above_f is not None
    assert above_f.name == "t"
    assert edges.above(7, lambda node: True) is None


def test_a_blob_that_nobody_makes() -> None:
    reads, last = resolve([(["x"], ["y"]), (["y"], ["y"]), (["y", "z"], [])], copies={0})
    assert reads == [[NOWHERE], [NOWHERE], [(1, 0), NOWHERE]]
    assert last == {"y": (1, 0)}
    assert resolve([([], ["x"])], copies={0}) == ([[]], {"x": (0, 0)})
