"""ONNX against real Caffe: every layer and net of Caffe's that torch can export, run in onnxruntime.

What cannot be exported is listed with the reason; a case that leaves or joins the list fails here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.errors import NetcError
from netc.graph.ir import Graph
from netc.runtime.export.shapes import Axes
from netc.weights.arrays import Weights
from netc.weights.card import Card
from netc.weights.keys import state_keys
from netc.weights.model import Model, ModelLayer
from tests.netc.layers.goldens import FOLDER, Golden, cases, distance

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow
TOLERANCE = 1e-5
REFUSED = {
    "silence": "W773",  # a net without outputs
    "pool_max_mask_top": "W773",  # torch's translation of the places of maxima wants numbers where sizes are free
    "pool_max_stride_gt_kernel_empty_window": "W773",
    "conv_k8_s4_on_6_c_division": "W772",  # onnxruntime takes no window larger than the image
}
"""Case → the error's code."""

DIFFERENT = {
    "accuracy_nan",  # onnxruntime orders NaN otherwise
    "sigmoid_ce_extreme",  # its softplus overflows for scores of thousands
    "bn_test_forced_batch_stats",  # torch's translation takes the stored statistics; the proof refuses it (W771)
    "swl_spatial",  # a number of pixels became a constant; `convert` finds that on a second size, and fixes the sizes
}
"""Cases that give other numbers, which the proof of a conversion is there to find."""


@pytest.fixture(autouse=True)
def _where_the_prototxts_were_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)


def converted(golden: Golden, path: Path) -> dict[str, np.ndarray]:
    """The outputs of the case's net as an ONNX file, run on the case's inputs."""
    from netc.runtime.export.onnx import run_onnx, write_onnx

    graph = golden.graph
    model = Model("", b"", Weights(), entries(golden, graph), graph.param, graph)
    write_onnx(path, model, graph, Axes(graph), Card())
    given = {name: golden.numbers[f"in:{name}"].astype("f4") for name in graph.inputs}
    outputs, inner, arrays = run_onnx(path, given, model, graph)
    assert not any(array.differing for array in arrays)
    return inner | outputs


def entries(golden: Golden, graph: Graph) -> list[ModelLayer]:
    keys = state_keys(graph)
    return [
        ModelLayer(
            key, graph.nodes[index].name, place, golden.net.params[graph.nodes[index].name][place].detach().numpy()
        )
        for index, names in keys.items()
        for place, key in enumerate(names)
    ]


@pytest.mark.parametrize("kind, name", [(kind, name) for kind in ("layers", "nets") for name in cases(kind)])
def test_onnx_gives_caffes_numbers(kind: str, name: str, tmp_path: Path) -> None:
    golden = Golden(kind, name)
    if golden.about["stochastic"] or golden.about["steps"] > 1 or golden.graph.phase != 1 or not golden.graph.inputs:
        pytest.skip("random, several steps, for training, or without an input")
    if name in REFUSED:
        with pytest.raises(NetcError) as caught:
            converted(golden, tmp_path / "net.onnx")
        assert caught.value.code == REFUSED[name]
        return
    found = converted(golden, tmp_path / "net.onnx")
    compared = [key.removeprefix("out:") for key in golden.numbers if key.startswith("out:")]
    assert set(golden.graph.outputs) <= set(found)
    distances = [distance(found[blob], golden.numbers[f"out:{blob}"]) for blob in set(compared) & set(found)]
    assert distances
    assert (max(distances) <= TOLERANCE) == (name not in DIFFERENT)
