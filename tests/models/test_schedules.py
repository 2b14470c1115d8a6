"""The paper's schedules (Sect. 3.1): the solvers of each step, and which weights they start from."""

from __future__ import annotations

from pathlib import Path

import pytest

import netc
from netc.graph.compile import compile_draft
from netc.graph.read import Drafts, open_file
from netc.solver import plans
from netc.solver.schedule import read_schedule
from tests.models.nets import FOLDER, NETS, base_of, letter_of, scales_of, starts_from_a, variants_of

VARIANTS = [(name, variant) for name in NETS for variant in variants_of(name)]
CDE = [name for name in NETS if letter_of(name) in "CDE"]


def solver(name, variant=""):
    return netc.read_solver(str(path(name, variant)))


def path(name, variant=""):
    return FOLDER / name / f"solver{variant and '_'}{variant}.prototxt"


def nets(name, variant=""):
    """The training net and the test net of a solver, as it means them."""
    param, origin = open_file(path(name, variant)).solver()
    near, drafts = str(path(name, variant)), Drafts()
    for plan in (plans.train_plan(param, near, origin=origin), *plans.test_plans(param, near, origin)):
        draft = plan.draft(drafts)
        yield compile_draft(draft, plans.planned_state(draft, plan))


def rescaling(graph):
    return graph.nodes[0].layer.param.transform_param.rescale_param


def weighted(graph):
    return [node for node in graph.nodes if node.type in ("Convolution", "InnerProduct")]


def steps(name):
    return {step.name: step for step in read_schedule(open_file(FOLDER / name / "schedule.prototxt"))}


@pytest.mark.parametrize("name, variant", VARIANTS)
def test_the_solvers_of_a_net_differ_in_what_the_paper_says(name, variant):
    """The rate after the first training, where the weights come from, and what they set for the net."""
    base, other = solver(name), solver(name, variant)
    assert other.snapshot_prefix == f"{name}_{variant}"
    assert other.base_lr == pytest.approx(0.01 if variant == "glorot" else 0.001)
    assert not other.transplant_param
    for field in ("snapshot_prefix", "base_lr", "transplant_param", "override_param"):
        base.ClearField(field)
        other.ClearField(field)
    assert base == other


@pytest.mark.parametrize("name", CDE)
def test_s_and_q(name):
    large, least, most = scales_of(name)
    train, test = nets(name, f"S{large}")
    assert rescaling(train).short_side == rescaling(test).short_side == large
    for variant in ("jitter", "jitter_fc"):
        train, test = nets(name, variant)
        assert (rescaling(train).min_short_side, rescaling(train).max_short_side) == (least, most)
        assert not rescaling(train).short_side
        assert rescaling(test) == rescaling(train)  # Q is the middle, which is S of the step before
        assert abs((least + most) // 2 - large) <= 1


@pytest.mark.parametrize("name", CDE)
def test_the_fully_connected_layers_alone(name):
    train, _ = nets(name, "jitter_fc")
    for node in weighted(train):
        assert [ref.learnable for ref in node.params] == [node.name.startswith("fc")] * 2
    train, _ = nets(name, "jitter")
    assert all(ref.lr_mult == 1 for node in weighted(train) for ref in node.params)


@pytest.mark.parametrize("name", [name for name in NETS if letter_of(name) in "ABCDE"])
def test_glorots_start(name):
    train, _ = nets(name, "glorot") if "glorot" in variants_of(name) else nets(name)
    for node in weighted(train):
        fillers = [ref.blob.filler for ref in node.params]
        assert (fillers[0].type, fillers[0].variance_norm) == ("xavier", 2)  # AVERAGE
        assert (fillers[1].type, fillers[1].value) == ("constant", 0)


@pytest.mark.parametrize("name", NETS)
def test_the_chain(name):
    found, letter, large = steps(name), letter_of(name), scales_of(name)[0]
    chain = [(letter, "A" if starts_from_a(name) else "")]
    if name in CDE:
        chain += [(f"{letter}_S{large}", letter), (f"{letter}_jitter", f"{letter}_S{large}")]
    if starts_from_a(name):
        chain.insert(0, ("A", ""))
        assert Path(found["A"].path).resolve() == FOLDER / base_of(name) / "solver.prototxt"
    assert [(step.name, step.weights_from) for step in found.values() if not step.alternative] == chain
    others = {step.name: step.weights_from for step in found.values() if step.alternative}
    expected = {f"{letter}_jitter_fc": f"{letter}_S{large}"} if name in CDE else {}
    assert others == expected | ({f"{letter}_glorot": ""} if "glorot" in variants_of(name) else {})


@pytest.mark.parametrize("name", NETS)
def test_a_schedule_is_checked(name):
    report = netc.check(f"{name}/schedule.prototxt")
    assert (report.kind, report.errors, report.advice) == ("schedule", [], [])


@pytest.mark.parametrize("name", NETS)
def test_shards(name):
    """Four GPUs of the paper; the small nets compute their batches whole, which is faster on a CPU."""
    for variant in ("", *variants_of(name)):
        assert solver(name, variant).shards == (0 if name.startswith("mini") else 4)
