"""The GPU's benchmark runs without a GPU, at a tiny size, keeps its budget and writes what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc.graph.compile import compile_net
from tools.bench_gpu import main, training_operations
from tools.nets import with_inputs

TINY = ["--nets", "mini_vgg_A", "--batch", "2", "--crop", "32", "--seconds", "0", "--eager"]


def test_a_run_at_a_tiny_size(tmp_path: Path) -> None:
    assert main([*TINY, "-o", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["matrix_tflops"]) == {"fp32", "tf32", "bf16"}
    runs = {(run["by"], run["precision"], run["channels_last"]): run for run in found["runs"]}
    assert len(runs) == 9
    assert all(run["images_per_second"] > 0 and run["share_of_matrix_rate"] > 0 for run in runs.values())
    assert found["left_out"] == []


def test_nothing_is_begun_beyond_the_budget(tmp_path: Path) -> None:
    assert main([*TINY, "--budget", "-1", "-o", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["runs"] == []
    assert len(found["left_out"]) == 9


@pytest.mark.parametrize(("net", "giga"), [("vgg_A", 45.48), ("vgg_D", 92.65), ("vgg_E", 117.62)])
def test_operations_of_a_step(net: str, giga: float) -> None:
    """../shared/research/performance.md, 1.4, with 1000 classes."""
    assert training_operations(compile_net(with_inputs(net, 1), phase="TRAIN")) / 1e9 == pytest.approx(giga, rel=2e-3)
