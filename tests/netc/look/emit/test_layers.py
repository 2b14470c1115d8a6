"""Every layer type can be emitted or has a reason not to, and what its emitted code computes is what the layer does."""

from __future__ import annotations

import ast
import builtins
import re

import pytest
import torch

import netc
from netc.errors import NetcError
from netc.layers import Layer, registry
from netc.look.emit import emit
from netc.look.emit.functions import FOLDER, needed, table
from netc.runtime.net.conformance import values
from tests.netc.layers.cases import CASES, Case
from tests.netc.layers.random_cases import draw
from tests.netc.look.emit.running import compare, formed


def has_code(cls: type[Layer]) -> bool:
    return not cls.is_source and cls.emit is not Layer.emit


def test_every_type_can_be_emitted_or_has_a_reason_not_to() -> None:
    """Source layers need none: their tops are arguments."""
    types = {name: cls for name, cls in registry().items() if not cls.is_source and cls.plugin is None}
    without = {name for name, cls in types.items() if not has_code(cls)}
    assert without == {name for name, cls in types.items() if cls.no_code}


EMITTED = sorted(name for name, cls in registry().items() if has_code(cls))


def test_a_type_without_an_emitter_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ReLU", "TanH"):
        monkeypatch.setattr(registry()[name], "emit", Layer.emit)
    text = (
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "act" type: "ReLU" bottom: "x" top: "y" }\n'
        'layer { name: "act2" type: "TanH" bottom: "y" top: "z" }\n'
    )
    with pytest.raises(NetcError) as caught:
        emit(netc.compile_net(text))
    assert [(error.code, error.line) for error in caught.value.errors] == [("L391", 2), ("L391", 3)]


def test_every_function_is_used_by_a_layer_or_a_function() -> None:
    folders = (FOLDER.parents[1], FOLDER.parents[2] / "runtime")
    files = [path for folder in folders for path in folder.rglob("*.py") if path.parent != FOLDER]
    words = {word for path in files for word in re.findall(r"\w+", path.read_text())}
    used = words | {name for function in table().values() for name in function.uses}
    assert [name for name in table() if name not in used and name not in registry()] == []


def test_a_function_is_complete_wherever_its_text_is_copied_to() -> None:
    """Each name stands for one thing, and the text reads nothing but torch, math, and other functions."""
    files = {path: ast.parse(path.read_text()) for path in FOLDER.glob("*.py")}
    names = [node.name for tree in files.values() for node in tree.body if hasattr(node, "name")]
    assert sorted(names) == sorted(set(names))
    known = {*dir(builtins), *table(), "torch", "F", "nn", "Tensor", "math", "Callable", "Any"}
    assert {name: function.uses - known for name, function in table().items() if function.uses - known} == {}
    assert formed(FOLDER) == ""


def test_functions_come_with_what_they_use_and_no_more() -> None:
    assert [function.name for function in needed("x = lstm_unit(a, b, c)", table())] == ["lstm_unit"]
    pooling = {"max_pool_with_position", "caffe_windows", "pooled_size", "each", "comparable", "without_nan"}
    assert {function.name for function in needed("max_pool_with_position(x, 3, 2)", table())} == pooling
    mvn = {"mean_variance_normalize", "normalised", "Normalised"}
    assert {function.name for function in needed("mean_variance_normalize(x)", table())} == mvn
    assert needed("x = F.relu(x)", table()) == []


REFUSED = {("Convolution", 7), ("Deconvolution", 5)}
"""Cases of `CASES` that torch has no module for: four spatial axes."""


def net_of(type: str, case: Case) -> str:
    """The text of a net with that one layer."""
    inputs = "".join(
        f'layer {{ name: "in{i}" type: "Input" top: "b{i}" input_param {{ shape {{ '
        f"{' '.join(f'dim: {size}' for size in shape)} }} }} }}\n"
        for i, shape in enumerate(case.shapes)
    )
    bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(case.shapes)))
    tops = " ".join(f'top: "t{i}"' for i in range(case.tops))
    return f'{inputs}layer {{ name: "one" type: "{type}" {bottoms} {tops} {case.text} }}\n'


def all_cases() -> list[tuple[str, int]]:
    return [(name, i) for name, found in CASES.items() for i in range(len(found)) if name in EMITTED]


@pytest.mark.parametrize("type, number", all_cases())
def test_a_layer_alone_is_the_running_layer(type: str, number: int) -> None:
    """Every case of the conformance harness, as a net of its own: the same numbers, or a refusal that says why."""
    case = CASES[type][number]
    if not case.tops or type == "Silence" or "sample_weights_test" in case.text:
        pytest.skip("no outputs, or random ones")
    graph = netc.compile_net(net_of(type, case), case.phase)
    if (type, number) in REFUSED:
        with pytest.raises(NetcError) as caught:
            emit(graph)
        assert caught.value.code == "L390"
    else:
        bottoms = values(case, case.shapes, torch.float32)
        assert compare(graph, given=[{f"b{i}": bottom for i, bottom in enumerate(bottoms)}]) <= 1e-5


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("type", [name for name in EMITTED if name != "Silence"])
def test_a_random_layer_is_the_running_layer(type: str, seed: int) -> None:
    """The same for settings and shapes drawn at random."""
    case = draw(type, seed)
    if "sample_weights_test" in case.text:
        pytest.skip("random")
    graph = netc.compile_net(net_of(type, case), case.phase)
    bottoms = values(case, case.shapes, torch.float32)
    try:
        found = compare(graph, given=[{f"b{i}": bottom for i, bottom in enumerate(bottoms)}])
    except NetcError as error:
        assert error.code == "L390", error  # noqa: PT017
        return
    assert found <= 1e-5, f"{case.text} {case.shapes}"
