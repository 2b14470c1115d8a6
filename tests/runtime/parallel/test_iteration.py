"""Training in shards: what each loss counts, dropout by position, running sums; any number of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import netc
from netc.cli import main
from netc.errors import NetcError
from netc.runtime.parallel.iteration import all_reached

DATA = """layer { name: "in" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: 12 dim: 3 dim: 6 dim: 5 } shape { dim: 12 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "uniform" min: 0 max: 3.99 } } }"""
FC = """layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }"""
DROPOUT = 'layer { name: "d" type: "Dropout" bottom: "x" top: "x" }'
BATCH_NORM = 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "x" }'
TOTAL = 'type: "Reduction" bottom: "fc" loss_weight: 1'
LOSSES = {
    "softmax": 'type: "SoftmaxWithLoss" bottom: "fc" bottom: "y"',
    "ignored": 'type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" loss_param { ignore_label: 2 }',
    "full": 'type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" loss_param { ignore_label: 2 normalization: FULL }',
    "none": 'type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" loss_param { normalization: NONE }',
    "hinge": 'type: "HingeLoss" bottom: "fc" bottom: "y"',
    "sum": 'type: "Reduction" bottom: "fc" loss_weight: 0.1',
    "rows": 'type: "Reduction" bottom: "fc" loss_weight: 1 reduction_param { operation: MEAN axis: 1 }',
    "scaled": """type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" loss_weight: 0.5 loss_param { ignore_label: 2 } }
      layer { name: "p" type: "Power" bottom: "loss" top: "p" loss_weight: 1 power_param { scale: 2 shift: 1 }""",
    "scaled sum": """type: "Reduction" bottom: "fc" }
      layer { name: "p" type: "Power" bottom: "loss" top: "p" loss_weight: 1 power_param { scale: 2 }""",
    "weights": """type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" }
      layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 3 dim: 2 } } }
      layer { name: "n" type: "Reduction" bottom: "p" top: "n" loss_weight: 1 reduction_param { operation: SUMSQ }""",
    "ignored by an accuracy": """type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" }
      layer { name: "a" type: "Accuracy" bottom: "fc" bottom: "y" top: "a" accuracy_param { ignore_label: 1 }""",
    "frozen": """type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" }
      layer { name: "f" type: "InnerProduct" bottom: "x" top: "f" param { lr_mult: 0 } param { lr_mult: 0 }
        inner_product_param { num_output: 2 }""",
}


def solver(net: str, more: str = "") -> str:
    return f'base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 max_iter: 9 net_param {{ {net} }} {more}'


def net_with(loss: str, between: str = "") -> str:
    return f'{DATA} {between} {FC} layer {{ name: "loss" top: "loss" {loss} }}'


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("shards", [2, 3, 5, 12])
def test_shards_add_up_to_the_batch(loss: str, shards: int) -> None:
    """The gradient and the loss of the whole batch, up to the order of the sums."""
    net = net_with(loss)
    whole, parts = netc.load_solver(solver(net)), netc.load_solver(solver(net), shards=shards)
    for run in (whole, parts):
        with torch.no_grad():
            for slot in run.slots:
                slot.value.copy_(torch.linspace(-1, 1, slot.value.numel()).view_as(slot.value))
    (expected, outputs), (found, others) = whole.forward_backward(), parts._divided.run(0, None, wanted=True)
    assert found == pytest.approx(expected, rel=1e-6)
    assert outputs.keys() == others.keys()
    for name, output in outputs.items():
        torch.testing.assert_close(others[name], output, rtol=1e-5, atol=1e-5)
    for one, other in zip(whole.slots, parts.slots, strict=True):
        torch.testing.assert_close(other.gradient(), one.gradient(), rtol=1e-5, atol=1e-6)


def test_one_shard_is_the_batch_to_the_bit() -> None:
    net = net_with(LOSSES["ignored"], DROPOUT)
    runs = [netc.load_solver(solver(net)), netc.load_solver(solver(net), shards=1)]
    assert runs[0].step(4) == runs[1].step(4)
    for one, other in zip(*(run.slots for run in runs), strict=True):
        assert torch.equal(one.value, other.value)


def test_sums_of_small_whole_numbers_are_exact_in_any_order() -> None:
    """E0: with dyadic numbers no sum is rounded, so shards and the whole batch agree to the bit."""
    text = net_with(TOTAL)
    runs = [netc.load_solver(solver(text), shards=shards) for shards in (0, 2, 3, 4)]
    x = torch.randint(-8, 9, (12, 3, 6, 5), generator=torch.Generator().manual_seed(3)).float()
    for run in runs:
        with torch.no_grad():
            run.slots[0].value.copy_(torch.arange(run.slots[0].value.numel()).view_as(run.slots[0].value) % 5 - 2)
        run.forward_backward(lambda k: {"x": x, "y": torch.zeros(12)})
    assert all(torch.equal(run.slots[0].gradient(), runs[0].slots[0].gradient()) for run in runs)


def test_dropout_goes_by_the_position_in_the_batch() -> None:
    net = net_with(
        'type: "Reduction" bottom: "fc" loss_weight: 1', 'layer { name: "d" type: "Dropout" bottom: "x" top: "x" }'
    )
    whole, parts = netc.load_solver(solver(net)), netc.load_solver(solver(net), shards=3)
    whole.forward_backward()
    parts.forward_backward()
    torch.testing.assert_close(parts.slots[0].gradient(), whole.slots[0].gradient(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", ["dim: -1 dim: 5", "dim: -1 dim: 3 dim: 30", "dim: -1 dim: 180"])
@pytest.mark.parametrize("shards", [2, 3, 5])
def test_dropout_goes_by_the_position_after_a_reshape_of_axis_0(shape: str, shards: int) -> None:
    """Eighteen rows of each sample, one, or one of every two: what is dropped is what is dropped of the whole batch."""
    between = f"""layer {{ name: "r" type: "Reshape" bottom: "x" top: "r" reshape_param {{ shape {{ {shape} }} }} }}
      layer {{ name: "d" type: "Dropout" bottom: "r" top: "r" }}
      layer {{ name: "b" type: "Reshape" bottom: "r" top: "x" reshape_param {{ shape {{ dim: -1 dim: 90 }} }} }}"""
    net = net_with(TOTAL, between.replace('top: "x"', 'top: "z"')).replace(FC, FC.replace('bottom: "x"', 'bottom: "z"'))
    whole = netc.load_solver(solver(net))
    if "180" in shape and shards == 5:  # twelve samples in five shards: some pairs would be torn
        with pytest.raises(NetcError, match="cannot be divided"):
            netc.load_solver(solver(net), shards=shards)
        return
    parts = netc.load_solver(solver(net), shards=shards)
    whole.forward_backward()
    parts.forward_backward()
    torch.testing.assert_close(parts.slots[0].gradient(), whole.slots[0].gradient(), rtol=1e-5, atol=1e-6)
    other = netc.load_solver(solver(net), seed=5)
    other.forward_backward()
    assert not torch.allclose(other.slots[0].gradient(), whole.slots[0].gradient(), rtol=1e-3)


def test_running_sums_add_the_mean_over_the_shards() -> None:
    net = net_with(LOSSES["softmax"], BATCH_NORM)
    run = netc.load_solver(solver(net), shards=3)
    batch = netc.load_solver(solver(net)).net.feeding.batch(0)["x"]
    run.forward_backward()
    mean, variance, factor = run.net.params["bn"]
    shards = batch.split(4)
    torch.testing.assert_close(mean, torch.stack([s.mean((0, 2, 3)) for s in shards]).mean(0))
    torch.testing.assert_close(variance, torch.stack([s.var((0, 2, 3)) for s in shards]).mean(0))
    assert factor.item() == 1


MIXED = {
    "fixed sizes": """layer { name: "r" type: "Reshape" bottom: "x" top: "z"
      reshape_param { shape { dim: 6 dim: -1 } } }""",
    "another axis": 'layer { name: "r" type: "Permute" bottom: "x" top: "z" permute_param { order: 1 order: 0 } }',
    "slices": """layer { name: "s" type: "Slice" bottom: "x" top: "z" top: "rest"
      slice_param { axis: 0 slice_point: 5 } }""",
    "two equal slices": 'layer { name: "s" type: "Slice" bottom: "x" top: "z" top: "rest" slice_param { axis: 0 } }',
    "softmax": 'layer { name: "s" type: "Softmax" bottom: "x" top: "z" softmax_param { axis: 0 } }',
    "weights for each sample": 'layer { name: "s" type: "Scale" bottom: "x" top: "z" scale_param { axis: 0 } }',
    "a mean times rows": """layer { name: "m" type: "Reduction" bottom: "x" top: "m"
        reduction_param { operation: MEAN } }
      layer { name: "s" type: "Scale" bottom: "x" bottom: "m" top: "z" scale_param { axis: 0 } }""",
    "a mean squared": """layer { name: "m" type: "Reduction" bottom: "x" top: "m"
        reduction_param { operation: MEAN } }
      layer { name: "s" type: "Power" bottom: "m" top: "z" power_param { power: 2 } }""",
    "a number for each class": """layer { name: "f" type: "InnerProduct" bottom: "x" top: "f"
        inner_product_param { num_output: 4 } }
      layer { name: "a" type: "Accuracy" bottom: "f" bottom: "y" top: "z" top: "each" }""",
    "a fixed batch": """layer { name: "more" type: "DummyData" top: "z"
      dummy_data_param { shape { dim: 2 dim: 3 } } }""",
}


@pytest.mark.parametrize("layer", MIXED.values(), ids=MIXED)
def test_what_mixes_the_samples_is_refused(layer: str) -> None:
    with pytest.raises(NetcError) as caught:
        netc.load_solver(solver(net_with(TOTAL, layer)), shards=4)
    assert caught.value.code == "R660"
    assert caught.value.place is not None


@pytest.mark.parametrize(("row", "shards"), [(1, 4), (7, 4), (11, 3)])
def test_what_is_wrong_with_a_record_is_told_of_that_record(row: int, shards: int, tmp_path: Path) -> None:
    """A row of a shard is another row of the batch, and another record."""
    h5py = pytest.importorskip("h5py")
    x, y = np.ones((12, 3), np.float32), np.zeros(12, np.float32)
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["x"], file["y"] = x, np.where(np.arange(12) == row, 9, y)
    x[row, 1] = np.nan
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"], file["y"] = x, y
    for name, code in (("labels", "R621"), ("data", "R630")):
        (tmp_path / f"{name}.txt").write_text(f"{tmp_path}/{name}.h5\n")
        data = f"""layer {{ name: "in" type: "HDF5Data" top: "x" top: "y"
          hdf5_data_param {{ source: "{tmp_path}/{name}.txt" batch_size: 12 }} }}"""
        run = netc.load_solver(solver(f'{data} {FC} layer {{ name: "l" {LOSSES["softmax"]} }}'), shards=shards)
        with pytest.raises(NetcError) as caught:
            run.step(1)
        assert caught.value.code == code
        assert f"row {row} of {tmp_path}/{name}.h5" in caught.value.message


def test_parameters_that_no_loss_reaches() -> None:
    """torch has to look for them in every iteration."""
    other = (
        'layer { name: "other" type: "InnerProduct" bottom: "x" top: "other" inner_product_param { num_output: 2 } }'
    )
    below = FC.replace('"fc"', '"below"') + FC.replace('bottom: "x"', 'bottom: "below"')
    for between, reached in (("", True), (BATCH_NORM, True), (other, False)):
        assert all_reached(netc.load_solver(solver(net_with(LOSSES["softmax"], between))).net.graph) == reached
    assert all_reached(netc.load_solver(solver(net_with(LOSSES["softmax"]).replace(FC, below))).net.graph)


def test_a_net_without_anything_to_learn_is_divided(tmp_path: Path) -> None:
    frozen = FC.replace('top: "fc"', 'top: "fc" param { lr_mult: 0 } param { lr_mult: 0 }')
    run = netc.load_solver(solver(net_with(LOSSES["softmax"]).replace(FC, frozen)), shards=3)
    before = [slot.value.clone() for slot in run.slots]
    run.step(2)
    assert all(map(torch.equal, before, [slot.value for slot in run.slots]))


@pytest.mark.parametrize("shards", [3, 4])
def test_a_shard_without_a_label_that_counts(shards: int) -> None:
    """Its loss and its accuracy are no part of those of the batch."""
    losses = """type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" loss_param { ignore_label: 2 } }
      layer { name: "a" type: "Accuracy" bottom: "fc" bottom: "y" top: "a" accuracy_param { ignore_label: 2 }"""
    net = f'{DATA} {FC} layer {{ name: "loss" top: "loss" {losses} }}'
    runs = [netc.load_solver(solver(net)), netc.load_solver(solver(net), shards=shards)]
    x, y = torch.randn(12, 3, 6, 5, generator=torch.Generator().manual_seed(1)), torch.full((12,), 2.0)
    y[7:11] = torch.tensor([0.0, 1.0, 3.0, 0.0])
    (loss, one), (other, found) = (run.forward_backward(lambda k: {"x": x, "y": y}) for run in runs)
    assert other == pytest.approx(loss, rel=1e-6)
    assert float(found["a"]) == pytest.approx(float(one["a"]), rel=1e-6)
    torch.testing.assert_close(runs[1].slots[0].gradient(), runs[0].slots[0].gradient(), rtol=1e-5, atol=1e-6)


def test_more_shards_than_samples_are_refused() -> None:
    with pytest.raises(NetcError) as caught:
        netc.load_solver(solver(net_with(TOTAL)), shards=13)
    assert caught.value.code == "R660"


def proved(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`netc prove-parallel` on the folder's solver."""
    return subprocess.run(
        [sys.executable, "-m", "netc", "prove-parallel", "solver.prototxt", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(netc.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_bits_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    """Weights, history and tests; dropout, labels that do not count, running sums and iter_size included."""
    net = net_with(LOSSES["ignored"], BATCH_NORM + DROPOUT)
    (tmp_path / "net.prototxt").write_text(net)
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 max_iter: 9 iter_size: 2 shards: 4 '
        "test_iter: 3 test_interval: 100"
    )
    done = proved(tmp_path, "--nproc", "1,2", "--iterations", "3", "--json", "-o", "proof")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["equal", "runs"]
    assert found["equal"]
    assert [run["nproc"] for run in found["runs"]] == [1, 2]
    assert [sorted(run) for run in found["runs"]] == [["history_sha256", "nproc", "tests", "weights_sha256"]] * 2
    assert len({run["weights_sha256"] for run in found["runs"]}) == 1
    certificate = json.loads((tmp_path / "proof.json").read_text())
    assert {**certificate, **found} == certificate
    assert (certificate["shards"], certificate["iterations"], len(certificate["checked"])) == (4, 3, 3)
    assert certificate["machine"]["cores"]
    page = (tmp_path / "proof.md").read_text()
    assert page.startswith("# solver.prototxt: the same bits")
    assert found["runs"][0]["history_sha256"] in page


@pytest.mark.slow
def test_without_shards_the_first_gradient_differs_by_rounding(tmp_path: Path) -> None:
    (tmp_path / "solver.prototxt").write_text(solver(net_with(LOSSES["ignored"], DROPOUT)))
    done = proved(tmp_path, "--nproc", "1,2,3", "--iterations", "2", "-o", "proof.json")
    found = json.loads((tmp_path / "proof.json").read_text())
    assert done.returncode == (0 if found["equal"] else 1), done.stderr
    rows = {(row["nproc"], row["precision"]): row for row in found["one_step"]}
    assert rows.keys() == {(count, kind) for count in (1, 2, 3) for kind in ("float32", "float64")}
    assert all(row["within"] and row["difference"] <= row["bound"] for row in rows.values())
    assert rows[1, "float32"]["difference"] == 0
    assert "up to the bound of rounding" in found["checked"][-1]


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (["--nproc", "0,2"], "C140", 2),
        (["--nproc", "two"], "C140", 2),
        (["--nproc", ""], "C140", 2),
        (["--nproc", "1,9"], "R661", 65),
        (["--iterations", "0"], "C100", 2),
        (["--shards", "-1"], "C100", 2),
        (["-o", "proof.txt"], "C160", 2),
        (["--shards", "5", "--nproc", "6"], "R661", 65),
    ],
)
def test_what_cannot_be_proved_is_refused_at_once(
    words: list[str], code: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_text(solver(net_with(LOSSES["softmax"]), "shards: 4"))
    assert main(["prove-parallel", str(path), "--json", *words]) == status
    assert json.loads(capsys.readouterr().out)["errors"][0]["code"] == code


@pytest.mark.parametrize("shards", [0, 2, 3])
def test_a_run_that_goes_on_with_other_shards_says_so(
    shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the rule of all conditions: it is kept in the manifest, and a warning names both."""
    monkeypatch.chdir(tmp_path)
    text = solver(net_with(LOSSES["softmax"]), 'snapshot_prefix: "run"').replace("max_iter: 9", "max_iter: 2")
    (tmp_path / "solver.prototxt").write_text(text)
    assert main(["train", "solver.prototxt", "--shards", "2"]) == 0
    manifest = json.loads((tmp_path / "run_iter_2.manifest.json").read_text())
    assert manifest["extras"]["conditions"]["shards"] == 2
    capsys.readouterr()
    words = ["--resume", "auto", "--iterations", "3", "--threads", "1"]
    assert main(["train", "solver.prototxt", "--shards", str(shards), *words]) == 0
    said = f"shards is {shards}, in the run that wrote the snapshot it was 2: continuing, not bit-exact"
    assert (said in capsys.readouterr().err) == (shards != 2)
