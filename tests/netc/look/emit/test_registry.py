"""Every layer type has an emitter, or a reason not to; every helper is used and checked."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch

import netc
from netc.errors import NetcError
from netc.layers import registry
from netc.look.emit import emit
from netc.look.emit.helpers import FOLDER, helpers, needed
from netc.look.emit.registry import INLINE, JOINTS, WITHOUT, emitters
from netc.runtime.net.conformance import values
from tests.netc.layers.cases import CASES, Case
from tests.netc.layers.random_cases import draw
from tests.netc.look.emit.running import compare


def test_every_type_can_be_emitted_or_has_a_reason_not_to() -> None:
    """Source layers need none: their tops are arguments."""
    types = {name for name, cls in registry().items() if not cls.is_source and cls.plugin is None}
    assert types - set(emitters()) == types & set(WITHOUT)
    assert not set(emitters()) & set(WITHOUT)
    assert set(emitters()) >= INLINE | JOINTS


def test_a_type_without_an_emitter_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {name: emitter for name, emitter in emitters().items() if name not in ("ReLU", "TanH")}
    monkeypatch.setattr("netc.look.emit.registry.emitters", lambda: table)
    text = (
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "act" type: "ReLU" bottom: "x" top: "y" }\n'
        'layer { name: "act2" type: "TanH" bottom: "y" top: "z" }\n'
    )
    with pytest.raises(NetcError) as caught:
        emit(netc.compile_net(text))
    assert [(error.code, error.line) for error in caught.value.errors] == [("L391", 2), ("L391", 3)]


def test_every_helper_is_used_by_an_emitter_or_a_helper() -> None:
    texts = [path.read_text() for path in FOLDER.parent.rglob("*.py") if path.parent != FOLDER]
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    used = words | {name for helper in helpers().values() for name in helper.uses}
    assert [name for name in helpers() if name not in used and name not in registry()] == []


def test_helpers_come_with_what_they_use_and_no_more() -> None:
    assert [helper.name for helper in needed("x = lstm_unit(a, b, c)")] == ["lstm_unit"]
    assert {helper.name for helper in needed("avg_pool(x, 3, 2)")} == {"avg_pool", "caffe_windows", "pair"}
    assert needed("x = F.relu(x)") == []


def test_the_emitter_needs_no_torch() -> None:
    folder = Path(FOLDER).parent
    files = [path for path in folder.rglob("*.py") if not path.name.startswith("_") or path.name == "__init__.py"]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name.split(".")[0] == "torch"] == []


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
    types = registry()
    emitted = set(types) & set(emitters())
    return [(name, i) for name, found in CASES.items() for i in range(len(found)) if name in emitted]


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


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("type", sorted(set(emitters()) & set(registry()) - {"Silence"}))
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
