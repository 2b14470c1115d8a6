"""--memory: what training takes is counted as it is, and batches are divided so that it fits, exactly."""

from __future__ import annotations

import gc

import pytest
import torch

import netc
from netc import NetcError
from netc.runtime.parallel.memory import Plan, bytes_of, peak
from netc.runtime.parallel.shards import Shard
from netc.runtime.solver.solver import Solver
from tests.runtime.parallel.test_iteration import BATCH_NORM, DROPOUT, LOSSES, net_with, solver
from tools.nets import random_batch, solver_of

WIDE = """layer { name: "conv" type: "Convolution" bottom: "x" top: "x2" convolution_param { num_output: 64
  kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "x2" top: "x2" }
layer { name: "pool" type: "Pooling" bottom: "x2" top: "x3" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc2" type: "InnerProduct" bottom: "x3" top: "fc2" inner_product_param { num_output: 4 } }
layer { name: "loss2" type: "SoftmaxWithLoss" bottom: "fc2" bottom: "y" top: "loss2" }"""
NET = net_with(LOSSES["ignored"], DROPOUT) + WIDE


@pytest.mark.parametrize(("text", "count"), [("24GB", 24 * 10**9), ("512 MiB", 2**29), ("1.5kb", 1500), (7, 7)])
def test_amounts(text: str | int, count: int) -> None:
    assert bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "24 apples", "9" * 5000, "nan"])
def test_what_is_not_an_amount(text: str) -> None:
    with pytest.raises(NetcError) as caught:
        bytes_of(text)
    assert caught.value.code == "C240"


def allocated(run: Solver, batch: dict[str, torch.Tensor]) -> int:
    """The most bytes at a time in a pass, by torch's own profile of its allocator."""
    run.net.losses(run.net(batch)).backward()
    for slot in run.slots:
        slot.value.grad = None
    gc.collect()
    with torch.profiler.profile(profile_memory=True, record_shapes=False) as profile:
        run.net.losses(run.net(batch)).backward()
    now = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def counted(run: Solver) -> int:
    return peak(run.net, Shard()) - sum(4 * slot.value.numel() for slot in run.slots)


LAYOUTS = [("fp32", None, 0.02), ("fp32", False, 0.02), ("bf16", None, 0.02), ("bf16", False, 0.25)]


@pytest.mark.parametrize(("precision", "channels_last", "bound"), LAYOUTS)
def test_the_count_is_what_torch_allocates(precision: str, channels_last: bool | None, bound: float) -> None:
    """Also in the layout that a CPU computes in by default, in which MAX pooling's gradient copies its largest blobs.
    What convolutions take for a moment inside them is not counted: a blob's copy in bf16, channels first."""
    run = netc.load_solver(solver(NET), precision=precision, channels_last=channels_last)
    assert counted(run) == pytest.approx(allocated(run, run.net.feeding.batch(0)), rel=bound)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("channels_last", [None, False])
@pytest.mark.parametrize(("name", "batch", "crop"), [("mini_vgg_A", 8, 0), ("mini_vgg_E", 8, 0), ("vgg_A", 2, 96)])
def test_nets(name: str, batch: int, crop: int, precision: str, channels_last: bool | None) -> None:
    """What is added for libraries covers what convolutions take inside them."""
    run = netc.load_solver(solver_of(name, batch, crop), precision=precision, channels_last=channels_last)
    found = allocated(run, random_batch(run.net.graph.shapes["data"]))
    assert 0.9 * found <= counted(run) <= 1.05 * found


def needed(parts: int) -> int:
    run = netc.load_solver(solver(NET))
    return Plan(run.net, "SGD", 1).needed(parts, parts > 1)


def test_it_sets_the_fewest_shards_that_fit_and_they_compute_what_shards_compute() -> None:
    limit = needed(3) + 1
    assert needed(2) > limit
    run = netc.load_solver(solver(NET), memory=limit)
    assert run.shards == 3
    same = netc.load_solver(solver(NET), shards=3)
    assert run.step(3) == same.step(3)
    assert all(torch.equal(a.value, b.value) for a, b in zip(run.slots, same.slots, strict=True))


def test_what_fits_is_computed_as_without() -> None:
    assert netc.load_solver(solver(NET), memory="1GB").shards == 0
    assert netc.load_solver(solver(NET), memory="1GB", shards=4).shards == 4


def test_shards_that_are_set_are_kept_or_refused() -> None:
    with pytest.raises(NetcError, match="in shards of 6 records takes") as caught:
        netc.load_solver(solver(NET), memory=needed(4) + 1, shards=2)
    assert caught.value.code == "R702"
    assert "--shards 4 fits" in (caught.value.hint or "")


def test_one_record_that_does_not_fit() -> None:
    with pytest.raises(NetcError, match="even if one record is computed at a time") as caught:
        netc.load_solver(solver(NET), memory="50KB")
    assert caught.value.code == "R701"


def test_a_batch_that_cannot_be_divided() -> None:
    slices = """layer { name: "s" type: "Slice" bottom: "x" top: "z" top: "rest"
      slice_param { axis: 0 slice_point: 5 } }"""
    with pytest.raises(NetcError, match='layer "s"') as caught:
        netc.load_solver(solver(net_with(LOSSES["sum"], slices)), memory="1KB")
    assert caught.value.code == "R660"


def test_means_over_fewer_records_are_told_of() -> None:
    text = solver(NET.replace(DROPOUT, BATCH_NORM))
    with pytest.warns(UserWarning, match="bn takes means over each of them"):
        netc.load_solver(text, memory=needed(3))


def test_a_net_that_cannot_be_counted() -> None:
    layer = """layer { name: "rois" type: "DummyData" top: "r" dummy_data_param { shape { dim: 12 dim: 5 } } }
      layer { name: "p" type: "ROIPooling" bottom: "x" bottom: "r" top: "p"
              roi_pooling_param { pooled_h: 2 pooled_w: 2 } }
      layer { name: "total" type: "Reduction" bottom: "p" top: "total" loss_weight: 1 }"""
    with pytest.raises(NetcError, match='layer "p"') as caught:
        netc.load_solver(solver(net_with(LOSSES["sum"], layer)), memory="1GB")
    assert caught.value.code == "R703"
