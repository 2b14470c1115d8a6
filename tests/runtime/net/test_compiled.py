"""--compile: the same numbers, a graph for each shape; a net that torch cannot trace is run as it is."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import netc
from netc import NetcError
from tests.faults.processes import LAST, SOLVER
from tests.runtime.net.test_computing import NET, batch

ROOT = Path(__file__).resolve().parents[3]

DROPOUT = 'layer { name: "d" type: "Dropout" bottom: "fc" top: "fc" }'
WRITES = """layer { name: "out" type: "HDF5Output" bottom: "fc" bottom: "label"
  hdf5_output_param { file_name: "out.h5" } }"""


def run_of(more: str, **options: Any) -> Any:
    net = NET.replace('layer { name: "loss"', more + 'layer { name: "loss"')
    text = f'base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 random_seed: 4 net_param {{ {net} }}'
    return netc.load_solver(text, **options)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Traced as for the compiler, and run by torch as they are: seconds and not a minute. What was compiled."""
    made: list[Any] = []

    def backend(graph: Any, example: Any) -> Any:
        made.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(logging.getLogger("torch"), "disabled", True)  # pytest collects torch's trace, line by line
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return made


@pytest.mark.parametrize(
    ("precision", "shards", "count"),
    [("bf16", 4, 2), *[pytest.param(*case, marks=pytest.mark.slow) for case in (("fp32", 0, 1), ("fp32", 2, 1))]],
)
def test_the_same_numbers_and_a_graph_for_each_shape(
    precision: str, shards: int, count: int, graphs: list[Any]
) -> None:
    """Neither the iteration nor the place of a shard in the batch makes another graph; 6 records in 4 shards do."""
    runs = [run_of(DROPOUT, compiled=compiled, shards=shards, precision=precision) for compiled in (False, True)]
    losses = [run.step(3, feed=batch) for run in runs]
    assert losses[0] == losses[1]
    assert len(graphs) == count
    for one, other in zip(*(run.slots for run in runs), strict=True):
        assert torch.equal(one.value, other.value)


def test_a_layer_that_cannot_be_traced(graphs: list[Any], tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    run = run_of(WRITES, compiled=True, output_dir=tmp_path)
    with pytest.warns(UserWarning, match=r'torch cannot trace layer "out" \(HDF5Output\).*going on without it'):
        loss = run.step(2, feed=batch)
    assert loss == run_of("").step(2, feed=batch)


@pytest.mark.slow
def test_a_machine_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/nowhere/c++",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    torch._dynamo.reset()
    run = run_of("", compiled=True)
    with pytest.warns(UserWarning, match="--compile: torch cannot compile this net"):
        run.step(1, feed=batch)


@pytest.mark.slow
def test_an_error_of_the_net_is_told_as_without(graphs: list[Any]) -> None:
    run = run_of("", compiled=True)
    with pytest.raises(NetcError) as caught:
        run.step(1, feed=lambda k: {**batch(), "data": torch.zeros(6, 4, 17, 13)})
    assert caught.value.code == "R603"
    assert 'layer "conv1"' in caught.value.message


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_the_compiler_makes_of_it_draws_the_same_dropout(precision: str) -> None:
    """A mask that differs in one value would be seen: the loss of a step is the same to the rounding of sums."""
    runs = [run_of(DROPOUT, compiled=compiled, shards=2, precision=precision) for compiled in (False, True)]
    for _ in range(3):
        one, other = (run.step(1, feed=batch) for run in runs)
        assert other == pytest.approx(one, rel=1e-5 if precision == "fp32" else 2**-8)


@pytest.mark.slow
@pytest.mark.parametrize("width", [7, 64])
def test_the_compiled_mask_is_the_eager_one_bit_for_bit(width: int) -> None:
    """The compiler takes arithmetic on known places for that of an index, which does not wrap round at 2^64: a mask
    was wrong so. Whole batches and parts of them, far on in training, several passes an iteration; widths that fill the
    vectors of a CPU, and that do not."""
    net = run_of(DROPOUT).net
    (layer,) = (node.layer for node in net.graph.nodes if node.name == "d")
    torch._dynamo.reset()
    drawn = partial(net.run.uniform, layer)
    compiled = torch.compile(drawn, fullgraph=True, dynamic=False)
    for part, rows in ((None, 6), (range(3), 3), (range(3, 6), 3), (range(4, 6), 4)):
        net.clock.part, net.clock.batch = part, 6
        for net.clock.passes in (1, 2):
            for iteration in (0, 1, 370_001, 2**40 + 3):
                net.clock.iteration = iteration
                like = torch.empty(rows, width)
                assert torch.equal(compiled(like), drawn(like)), (part, net.clock.passes, iteration)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [4, 5])
def test_any_number_of_processes_ends_in_the_same_bits(shards: int, tmp_path: Path) -> None:
    """Each process compiles for itself, and the same code for the same shape; with 5 shards of 12 records there are two
    shapes."""
    found = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        text = SOLVER.replace(f"max_iter: {LAST}", "max_iter: 5").replace("num_output: 4", "num_output: 64")
        (folder / "solver.prototxt").write_text(text)
        command = [sys.executable, "-m", "netc", "train", "solver.prototxt", "--compile"]
        command += ["--nproc", str(processes), "--shards", str(shards)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert "going on without it" not in done.stderr
        kinds = ("caffemodel", "solverstate")
        found[folder.name] = [
            hashlib.sha256((folder / f"run_iter_5.{kind}").read_bytes()).hexdigest() for kind in kinds
        ]
    assert found["1"] == found["2"]


def test_the_compiler_is_not_loaded_before_something_is_compiled() -> None:
    """It takes longer to load than torch itself."""
    import subprocess
    import sys

    rooms = "netc.runtime.net.module, netc.runtime.net.feeding, netc.layers._python"
    program = f"import sys, {rooms}; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=300).returncode == 0
