"""What "exactly the same" means, level by level: algebra (E0), rounding (E1), bits (E2), bits after faults (E3)."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import netc
from netc.errors import NetcError
from netc.files.shipped import FOLDER
from netc.graph.compile import compile_net
from netc.graph.read import locate_solver
from netc.runtime.demo import steps as demo
from netc.runtime.parallel.group import Group
from netc.runtime.parallel.rounding import ROUNDOFF, bound, terms
from netc.runtime.solver.solver import Solver
from tests.runtime.parallel.threads import together
from tests.runtime.solver.conftest import write_database

ROOT = Path(netc.__file__).parents[1]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# -- E0: the algebra ---------------------------------------------------------------------------------------------------

DYADIC = """
layer { name: "in" type: "Input" top: "x" top: "t" input_param {
  shape { dim: 16 dim: 2 dim: 6 dim: 6 } shape { dim: 16 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 4 } }
layer { name: "loss" top: "loss" bottom: "fc" %s }
"""
EUCLIDEAN = 'type: "EuclideanLoss" bottom: "t"'
SUM = 'type: "Reduction" loss_weight: 0.5'


def whole_numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()


def dyadic_gradients(loss: str, precision: str, order: list[int] | None = None, **options: Any) -> list[torch.Tensor]:
    solver = f'base_lr: 1 lr_policy: "fixed" max_iter: 9 net_param {{ {DYADIC % loss} }}'
    run = netc.load_solver(solver, **options)
    with torch.no_grad():
        for number, slot in enumerate(run.slots):
            slot.value.copy_(whole_numbers(*slot.value.shape, seed=number))
    x, t = whole_numbers(16, 2, 6, 6, seed=50), whole_numbers(16, 4, seed=51)
    if order is not None:
        x, t = x[order], t[order]
    if precision == "float64":
        run.net.double()
        run.divide()
        x, t = x.double(), t.double()
    run.forward_backward(lambda k: {"x": x, "t": t})
    return [slot.gradient() for slot in run.slots]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "shards"), [(EUCLIDEAN, n) for n in (2, 4, 8, 16)] + [(SUM, n) for n in (3, 5, 7)])
def test_no_sum_of_dyadic_numbers_is_rounded(loss: str, shards: int, precision: str) -> None:
    """Convolution, ReLU, pooling and InnerProduct on small whole numbers: every partial sum is exact, so shards, and
    records in any order, give the gradient of the whole batch to the bit."""
    whole = dyadic_gradients(loss, precision)
    assert all(float(gradient.abs().max()) > 0 for gradient in whole)
    order = random.Random(shards).sample(range(16), 16)
    for other in (None, order):
        found = dyadic_gradients(loss, precision, other, shards=shards)
        assert all(map(torch.equal, found, whole))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_several_sum_up_the_same_gradients(size: int) -> None:
    whole = dyadic_gradients(EUCLIDEAN, "float32")

    def work(group: Group) -> list[torch.Tensor]:
        return dyadic_gradients(EUCLIDEAN, "float32", shards=8, group=group)

    for found in together(size, work):
        assert all(map(torch.equal, found, whole))


# -- E1: rounding ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's pictures: train_lmdb (40) and val_lmdb (12), and mini_vgg_A as files, in batches of 8."""
    folder = tmp_path_factory.mktemp("pictures") / "data"
    sets, demo.SETS = demo.SETS, {"train": (0, 40), "val": (40, 11)}
    try:
        demo.prepare(folder, lambda text: None)
    finally:
        demo.SETS = sets
    text = (FOLDER / "mini_vgg_A" / "train_val.prototxt").read_text()
    for batch in (2, 8):
        own = text.replace("batch_size: 64", f"batch_size: {batch}").replace("batch_size: 50", "batch_size: 4")
        (folder / f"net_{batch}.prototxt").write_text(own)
    return folder


def mini(folder: Path, batch: int = 8, **options: Any) -> Solver:
    """mini_vgg_A by its own solver, with batches of 8."""
    param, origin = locate_solver(str(FOLDER / "mini_vgg_A" / "solver.prototxt"))
    param.net = str(folder / f"net_{batch}.prototxt")
    param.iter_size = options.pop("iter_size", 1)
    return Solver(param, origin, workers=1, **options)


PUBLISHED = {"float32": 1e-6, "float64": 1e-14}


@pytest.mark.parametrize("precision", ROUNDOFF)
def test_one_step_differs_by_rounding_alone(precision: str, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of mini_vgg_A on real pictures in shards, against that of the whole batch. Kernels for one record
    add in other orders than those for several: in float32 the whole batch's is then further from the truth."""
    monkeypatch.chdir(pictures)
    whole, *others = (_gradient(mini(pictures, shards=shards), precision) for shards in (0, 3, 4, 8))
    apart = [float((other - whole).norm() / whole.norm()) for other in others]
    graph = compile_net(str(pictures / "net_8.prototxt"), phase="TRAIN")
    assert all(0 < distance <= bound(terms(graph), precision) for distance in apart), apart
    assert all(distance <= PUBLISHED[precision] for distance in apart[:2]), apart


def test_the_terms_of_a_gradient() -> None:
    """By hand, of conv (2 → 4, 3×3 on 6×6) and an InnerProduct of 16 to 4, for 16 records."""
    run = netc.load_solver(f'base_lr: 1 lr_policy: "fixed" max_iter: 9 net_param {{ {DYADIC % EUCLIDEAN} }}')
    conv, fc = (2 * 9) + (4 * 16 * 2 * 9 // (2 * 36)), 16 + 4
    assert terms(run.net.graph) == conv + fc + 16 * 16
    assert terms(run.net.graph, iter_size=3) == conv + fc + 3 * 16 * 16


def _gradient(run: Solver, precision: str) -> torch.Tensor:
    kind = torch.float64 if precision == "float64" else torch.float32
    run.net.to(kind)
    run.divide()
    if precision == "float64" and run._divided is None:  # what a division does for its batches
        batch = {name: tensor.to(kind) for name, tensor in run.net.feeding.batch(0).items()}
        run.net.clock.iteration = 0
        run.net.losses(run.net(batch)).backward()
    else:
        run.forward_backward()
    run.close()
    return torch.cat([slot.gradient().reshape(-1).double() for slot in run.slots])


# -- E2: bits ----------------------------------------------------------------------------------------------------------


def digest(run: Solver) -> tuple[str, str, str, list[dict[str, float]]]:
    """SHA-256 of weights and of history, the losses, and the test outputs."""
    sums = []
    for tensors in ([t for ts in run.net.params.values() for t in ts], [h for s in run.slots for h in s.history]):
        sha = hashlib.sha256()
        for tensor in tensors:
            sha.update(tensor.detach().contiguous().numpy().tobytes())
        sums.append(sha.hexdigest())
    return (*sums, repr(list(run.losses)), run.test())  # type: ignore[return-value]


def trained(run: Solver, iterations: int) -> Any:
    run.step(iterations)
    found = digest(run)
    run.close()
    return found


def test_mini_vgg_a_has_the_same_bits_for_any_number(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffling, random crops, flips, colour shift and scale, dropout, and the tests of 11 records in batches of 4."""
    monkeypatch.chdir(pictures)
    alone = trained(mini(pictures, shards=4), 2)
    found = together(3, lambda group: trained(mini(pictures, shards=4, group=group), 2))  # more in the slow tests
    assert found == [alone] * 3


def test_shards_are_the_same_as_batches_of_iter_size(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four batches of two that are accumulated, or one of eight in four shards: the same records at the same positions
    of the global batch, the same crops and dropout, the same sums."""
    monkeypatch.chdir(pictures)
    assert trained(mini(pictures, 2, shards=1, iter_size=4), 2) == trained(mini(pictures, 8, shards=4), 2)
    assert (
        trained(mini(pictures, 8, shards=2, iter_size=2), 1)
        == together(3, lambda group: trained(mini(pictures, 8, shards=2, iter_size=2, group=group), 1))[2]
    )


IGNORING = """
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 8 scale: 0.0078125 mean_value: 128 }
  data_param { source: "train_lmdb" batch_size: 10 backend: LMDB sampling_param { shuffle: true } } }
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 8 scale: 0.0078125 mean_value: 128 }
  data_param { source: "test_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "split" type: "Reshape" bottom: "conv" top: "rows" reshape_param { shape { dim: -1 dim: 36 } } }
layer { name: "drop" type: "Dropout" bottom: "rows" top: "rows" }
layer { name: "back" type: "Reshape" bottom: "rows" top: "wide" reshape_param { shape { dim: -1 dim: 216 } } }
layer { name: "fc" type: "InnerProduct" bottom: "wide" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" loss_param { ignore_label: 1 } }
layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" top: "each"
  include { phase: TEST } accuracy_param { ignore_label: 1 } }
"""
RULE = 'base_lr: 0.05 momentum: 0.9 weight_decay: 0.001 lr_policy: "fixed" max_iter: 99 test_interval: 1000'


@pytest.fixture
def ignoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A net with labels that do not count, BatchNorm, and dropout on rows that a Reshape has made of samples."""
    write_database(tmp_path / "train_lmdb", 27, 1)
    write_database(tmp_path / "test_lmdb", 11, 2)
    (tmp_path / "net.prototxt").write_text(IGNORING)
    (tmp_path / "solver.prototxt").write_text(f'net: "net.prototxt" {RULE} iter_size: 2 shards: 4')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shards", [1, 4, *(pytest.param(count, marks=pytest.mark.slow) for count in (3, 5))])
def test_the_same_bits_where_labels_do_not_count(shards: int, ignoring: Path) -> None:
    """Uneven shards too: 10 records in 3 or 4 of them, 11 records to test in batches of 4."""
    alone = trained(netc.load_solver("solver.prototxt", shards=shards, workers=1), 3)

    def work(group: Group) -> Any:
        return trained(netc.load_solver("solver.prototxt", shards=shards, workers=1, group=group), 3)

    for size in range(2, min(4, 2 * shards) + 1):
        assert together(size, work) == [alone] * size


def test_shards_ask_for_no_more_of_a_test_than_there_is(ignoring: Path) -> None:
    """Eleven records in three batches for four processes: each record once, and the same means as of one process."""
    alone = netc.load_solver("solver.prototxt", workers=1).test()
    for size in (2, 3, 4, 5):
        found = together(
            size, lambda group: netc.load_solver("solver.prototxt", workers=1, group=group, shards=8).test()
        )
        assert found == [alone] * size


# -- E3, and E2 by processes -------------------------------------------------------------------------------------------


def netc_command(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "netc", *words],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini_vgg_A", "ignoring"])
def test_proved_for_one_to_four_processes(name: str, pictures: Path, ignoring: Path) -> None:
    folder = ignoring
    if name == "mini_vgg_A":
        folder = pictures
        text = (FOLDER / "mini_vgg_A" / "solver.prototxt").read_text()
        (folder / "proved.prototxt").write_text(text.replace("train_val", "net_8"))
    solver = "proved.prototxt" if name == "mini_vgg_A" else "solver.prototxt"
    words = ["prove-parallel", solver, "--nproc", "1,2,3,4", "--iterations", "4", "--shards", "4", "--json"]
    done = netc_command(folder, *words)
    out, err = done.communicate(timeout=1500)
    assert done.returncode == 0, err
    found = json.loads(out)
    assert found["equal"]
    assert [run["nproc"] for run in found["runs"]] == [1, 2, 3, 4]


@pytest.mark.slow
def test_the_same_bits_after_a_random_rank_was_killed(pictures: Path, tmp_path: Path) -> None:
    """Of three processes one is killed in the middle; the launcher starts all again from the newest snapshot."""
    text = (FOLDER / "mini_vgg_A" / "solver.prototxt").read_text().replace("train_val", "net_8")
    text = text.replace("snapshot: 1000", "snapshot: 3")
    finals = []
    for name, count in (("calm", 1), ("killed", 3)):
        (pictures / f"{name}.prototxt").write_text(
            text.replace("mini_vgg_A", name, 1).replace('"mini_vgg_A"', f'"{name}"')
        )
        words = ["train", f"{name}.prototxt", "--nproc", str(count), "--shards", "4", "--iterations", "12"]
        process = netc_command(pictures, *words)
        if count > 1:
            kill_one(process, pictures / f"{name}_iter_6.manifest.json")
        _, err = process.communicate(timeout=1500)
        assert process.returncode == 0, err
        finals.append([(pictures / f"{name}_iter_12.caffemodel").read_bytes()])
    assert finals[0] == finals[1]


def kill_one(process: subprocess.Popen[str], when: Path) -> None:
    """SIGKILL a worker of a launcher as soon as a file is there."""
    for _ in range(6000):
        if when.exists():
            break
        assert process.poll() is None
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(random.Random().choice(children)), signal.SIGKILL)


def test_dropout_of_what_is_no_batch_is_refused(ignoring: Path) -> None:
    """Every shard would drop other values of what is the same for all of them."""
    text = (
        IGNORING.replace('name: "bn"', 'name: "bn"')
        + """
layer { name: "learnt" type: "Parameter" top: "learnt" parameter_param { shape { dim: 6 } } }
layer { name: "dropped" type: "Dropout" bottom: "learnt" top: "dropped" }
layer { name: "more" type: "Reduction" bottom: "dropped" top: "more" loss_weight: 1 }
"""
    )
    (ignoring / "net.prototxt").write_text(text)
    with pytest.raises(NetcError, match='it drops values of "dropped"') as caught:
        netc.load_solver("solver.prototxt", shards=2)
    assert caught.value.code == "R660"
