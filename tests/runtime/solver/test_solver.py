"""What a run refuses, reports and counts, on a small net."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc import proto, read_solver, weights
from netc.cli import main
from netc.errors import NetcError
from netc.graph.read import locate_solver
from netc.runtime.net import feeding
from netc.runtime.solver.log import Log
from netc.runtime.solver.nets import Builder
from netc.runtime.solver.report import Report
from netc.runtime.solver.solver import load_solver
from netc.runtime.solver.tester import run_test
from netc.runtime.solver.training import train
from netc.solver.plans import TEST, NetPlan
from netc.solver.policies import POLICIES
from netc.solver.settings import check
from tests.runtime.solver.conftest import TEST as RECORDS
from tests.runtime.solver.conftest import write_run

INPUTS = """
net_param {
  layer { name: "in" type: "Input" top: "x" top: "label" input_param { shape { dim: 3 dim: 5 } shape { dim: 3 } } }
  layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 4
    weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
}
base_lr: 0.1 lr_policy: "fixed" momentum: 0.9
"""


def feed(k: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(k)
    x, label = rng.standard_normal((3, 5), np.float32), rng.integers(0, 4, 3).astype(np.float32)
    return {"x": torch.from_numpy(x), "label": torch.from_numpy(label)}


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, code, place, says",
    [
        ('lr_policy: "fixed"', "R610", 0, "there is no net to train"),
        ('net: "a"\ntrain_net: "b"\nlr_policy: "fixed"', "R610", 2, "2 nets to train: net, train_net"),
        ('net: "a"\nlr_policy: "cosine"', "R612", 2, 'unknown lr_policy "cosine"'),
        ('net: "a"\nlr_policy: "multi"', "R612", 2, 'did you mean "multistep"?'),
        ('net: "a"\nbase_lr: 1', "R612", 0, "lr_policy is not set"),
        ('net: "a"\nlr_policy: "step"\ngamma: -1\nstepsize: 2', "R613", 3, "gamma >= 0"),
        ('net: "a"\nlr_policy: "step"', "R613", 2, "stepsize > 0"),
        ('net: "a"\nlr_policy: "sigmoid" stepsize: 1\ngamma: -1', "R613", 3, "gamma >= 0"),
        ('net: "a"\nlr_policy: "plateau"\ngamma: 0.1', "R613", 2, "test_interval must be set"),
        ('net: "a"\nlr_policy: "fixed"\ntype: "Adagrad"', "R614", 3, 'did you mean "AdaGrad"?'),
        ('net: "a"\nlr_policy: "fixed"\ntype: "AdaGrad" momentum: 0.9', "R614", 3, "AdaGrad has no momentum"),
        ('net: "a"\nlr_policy: "fixed"\ntype: "RMSProp" rms_decay: 1', "R614", 3, "rms_decay"),
        ('net: "a"\nlr_policy: "fixed"\ntest_iter: 3', "R611", 3, "test_interval is not set"),
        (
            'net: "a"\nlr_policy: "fixed"\ntest_iter: 3 test_interval: 1\ntest_state {} test_state {}',
            "R611",
            4,
            "2 times",
        ),
        ('net: "a"\nlr_policy: "fixed"\naverage_loss: 0', "R615", 3, "at least 1"),
        ('net: "a"\nlr_policy: "fixed" test_interval: 1\ntest_net: "b"', "R611", 3, "0 times for 1 test net"),
        ('train_net: "a"\nlr_policy: "fixed" test_interval: 1\ntest_iter: 1', "R611", 3, "1 times for 0 test net"),
    ],
)
def test_settings_that_caffe_aborts_on(text: str, code: str, place: int, says: str) -> None:
    with pytest.raises(NetcError) as caught:
        load_solver(text + "\n")
    assert (caught.value.code, caught.value.line) == (code, place)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "iter_size: 0",
        "base_lr: -0.1",
        'lr_policy: "multistep" gamma: 0.1 stepvalue: 9 stepvalue: 5',
        'lr_policy: "poly" power: 1',
        "test_iter: 0 test_interval: 2",
        'regularization_type: "L3"',
        "display: -1 snapshot: -1 test_interval: -1",
    ],
)
def test_settings_that_caffe_accepts(text: str) -> None:
    """Solver::Init has no check of these, and two public solvers have a test_iter of 0."""
    policy = "" if "lr_policy" in text else 'lr_policy: "fixed" '
    check(*locate_solver(f'net: "a" {policy}{text}\n'))


def test_an_iteration_without_a_batch() -> None:
    run = load_solver(INPUTS + "iter_size: 0")
    with pytest.raises(NetcError) as caught:
        run.step(1, feed)
    assert (caught.value.code, run.iter) == ("R615", 0)


def test_a_test_without_a_batch() -> None:
    run = load_solver(INPUTS + "test_iter: 0 test_interval: 1")
    run.test_feed = feed
    assert math.isfinite(run.step(2, feed))
    assert run.test(feed) == [{}]


def test_steps_out_of_order_are_taken_one_an_iteration() -> None:
    """SGDSolver::GetLearningRate moves on by one stepvalue where the iteration has reached it."""
    param = read_solver('lr_policy: "multistep" base_lr: 1 gamma: 0.5 stepvalue: 3 stepvalue: 1')
    assert [POLICIES["multistep"].rate(param, i) for i in range(6)] == [1, 1, 1, 0.5, 0.25, 0.25]


def test_poly_without_max_iter() -> None:
    assert POLICIES["poly"].rate(read_solver('lr_policy: "poly" base_lr: 1 power: 1'), 0) == 0


def test_all_faults_at_once() -> None:
    with pytest.raises(NetcError) as caught:
        load_solver('lr_policy: "step"\ntype: "SDG"\n')
    assert sorted(error.code for error in caught.value.errors) == ["R610", "R613", "R614"]


# -- the public interface ----------------------------------------------------------------------------------------------


def test_step_by_step() -> None:
    run = netc.load_solver(INPUTS)
    assert math.isnan(run.loss)
    first = run.step(1, feed)
    assert (run.iter, run.loss) == (1, first)
    assert run.lr == pytest.approx(0.1)
    assert run.net.params["fc"][0].shape == (4, 5)
    assert run.test_nets == []


def test_feed_counts_forward_passes() -> None:
    run = load_solver(INPUTS + "iter_size: 3")
    asked: list[int] = []
    run.step(2, lambda k: asked.append(k) or feed(k))  # type: ignore[func-returns-value]
    assert asked == [0, 1, 2, 3, 4, 5]


def test_missing_feed_names_the_input() -> None:
    with pytest.raises(NetcError) as caught:
        load_solver(INPUTS).step(1)
    assert caught.value.code == "R601"
    with pytest.raises(NetcError) as caught:
        train(load_solver(INPUTS))
    assert caught.value.code == "R624"


def test_rate_zero_keeps_the_weights() -> None:
    run = load_solver(INPUTS.replace("base_lr: 0.1", "base_lr: 0"))
    before = run.net.params["fc"][0].detach().clone()
    run.step(3, feed)
    assert torch.equal(before, run.net.params["fc"][0])


def test_frozen_layer_stays() -> None:
    run = load_solver(INPUTS.replace('"fc" inner', '"fc" param { lr_mult: 0 } inner') + "weight_decay: 0.1")
    before = [tensor.detach().clone() for tensor in run.net.params["fc"]]
    run.step(3, feed)
    weight, bias = run.net.params["fc"]
    assert torch.equal(before[0], weight)
    assert not torch.equal(before[1], bias)


@pytest.mark.parametrize(
    "blocks, decay_mult", [("", 1.0), ("param { lr_mult: 0 decay_mult: 2 }", 2.0), ("param {} " * 3, 0.0)]
)
def test_batch_norms_sums_decay_into_the_history(blocks: str, decay_mult: float) -> None:
    """Caffe gives them lr_mult 0, but the decay_mult of any parameter: they stay, and AdaGrad squares their decay.
    Three blocks are of the old format, whose upgrade sets decay_mult 0."""
    norm = f'layer {{ name: "bn" type: "BatchNorm" bottom: "fc" top: "fc" {blocks} }} layer {{ name: "loss"'
    net = INPUTS.replace('layer { name: "loss"', norm).replace("momentum: 0.9", 'type: "AdaGrad" weight_decay: 0.25')
    run, expected = load_solver(net), np.zeros(4)
    for _ in range(3):
        run.step(1, feed)
        expected += (0.25 * decay_mult * run.net.params["bn"][0].numpy().astype(np.float64)) ** 2
    (history,) = run.slots[2].history
    np.testing.assert_allclose(history.numpy(), expected, rtol=1e-6)


def test_divergence_names_the_layer() -> None:
    run = load_solver(INPUTS.replace("base_lr: 0.1", "base_lr: 1e30 weight_decay: 1"))
    with pytest.raises(NetcError) as caught:
        run.step(9, feed)
    assert caught.value.code == "R630"
    assert f"at iteration {run.iter}" in str(caught.value)
    assert 'layer "fc"' in str(caught.value)
    assert re.match(r"likely causes, the likeliest first: \(1\) the rate: .*lower base_lr", str(caught.value.hint))


def test_divergence_from_pixels_that_the_fillers_cannot_take(tiny: Path) -> None:
    """The scale of the input is told before the rate."""
    net = Path("net.prototxt")
    net.write_text(net.read_text().replace("scale: 0.0078125 ", ""))
    solver = Path("solver.prototxt")
    solver.write_text(solver.read_text().replace("base_lr: 0.02", "base_lr: 1e30"))
    with pytest.raises(NetcError) as caught:
        load_solver("solver.prototxt").step(9)
    assert caught.value.code == "R630"
    assert re.match(
        r"likely causes, the likeliest first: \(1\) netc check warns of this net \(A819\): scale: 0\.\d+ "
        r".*\(2\) input scale: .* \(3\) the rate: .*lower base_lr",
        str(caught.value.hint),
    )


def test_label_that_is_no_class() -> None:
    run = load_solver(INPUTS)
    with pytest.raises(NetcError, match="label 4 does not exist") as caught:
        run.step(1, lambda k: {**feed(k), "label": torch.tensor([0.0, 4.0, 1.0])})
    assert caught.value.code == "R621"
    assert "4 classes, labels 0 to 3" in str(caught.value)


def test_label_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, classes=2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NetcError, match="label 2 does not exist") as caught:
        load_solver("solver.prototxt").step(1)
    assert caught.value.code == "R621"


# -- tests -------------------------------------------------------------------------------------------------------------


def test_whole_set_counts_each_record_once(tiny: Path) -> None:
    """11 records in batches of 4: what one batch of 11 gives."""
    run = load_solver("solver.prototxt")
    means = run.test()[0]
    builder = Builder(3, "cpu", 1)
    net = builder.build(builder.compile(NetPlan(whole_batch(), "", TEST)), lambda net: net.share_from(run.net))
    result = run_test(net, None)
    assert (result.batches, result.samples) == (1, RECORDS)
    assert {name: result.value(name) for name in result.outputs} == pytest.approx(means, rel=1e-6)
    run.close()
    net.feeding.close()


def whole_batch() -> str:
    path = Path("whole.prototxt")
    path.write_text(Path("net.prototxt").read_text().replace("batch_size: 4", f"batch_size: {RECORDS}"))
    return str(path)


def test_test_nets_use_the_training_nets_parameters(tiny: Path) -> None:
    run = load_solver("solver.prototxt")
    for layer in ("conv", "fc"):
        assert all(a is b for a, b in zip(run.net.params[layer], run.test_nets[0].params[layer], strict=True))
    run.close()


def test_turns_of_a_test_with_test_iter(tiny: Path) -> None:
    solver = read_solver("solver.prototxt")
    solver.test_iter.append(2)
    solver.lr_policy = "fixed"
    run = load_solver(solver)
    turns = []
    for _ in range(7):
        turns.append((run.tests_before(), run.test_due()))
        run.iter += 1
    assert turns == [(0, True), (1, False), (1, True), (2, False), (2, True), (3, False), (3, True)]
    run.param.test_initialization = False
    run.iter = 0
    assert not run.test_due()
    run.iter = 4
    assert run.tests_before() == 1
    run.close()


def test_several_test_nets_with_states_of_their_own(tiny: Path) -> None:
    """test_state is laid over the net's own state, train_state over the training net's; stages select layers."""
    text = Path("net.prototxt").read_text()
    silent = 'layer {{ name: "s{0}" type: "Silence" bottom: "fc" include {{ stage: "{0}" }} }}\n'
    Path("net.prototxt").write_text(text + "".join(map(silent.format, "abc")) + 'state { stage: "c" }\n')
    solver = read_solver("solver.prototxt")
    solver.test_iter.extend([2, 1])
    solver.test_state.add(stage=["a"])
    solver.test_state.add(stage=["b"], level=2)
    run = load_solver(solver, stages=["a", "b"])
    nets = [run.net, *run.test_nets]
    assert [{n.name for n in net.graph.nodes} & {"sa", "sb", "sc"} for net in nets] == [
        {"sa", "sb", "sc"},
        {"sa", "sc"},
        {"sb", "sc"},
    ]
    assert [net.graph.phase for net in nets] == [0, 1, 1]
    assert len(run.test()) == 2
    run.close()


def test_source_of_unknown_length_needs_test_iter(tiny: Path) -> None:
    text = Path("net.prototxt").read_text()
    start, end = text.index("layer", text.index("phase: TRAIN")), text.index('layer { name: "conv"')
    dummy = """layer { name: "in" type: "DummyData" top: "data" top: "label" include { phase: TEST }
      dummy_data_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } shape { dim: 4 } } }\n"""
    Path("net.prototxt").write_text(text[:start] + dummy + text[end:])
    run = load_solver("solver.prototxt")
    with pytest.raises(NetcError) as caught:
        run.test()
    assert caught.value.code == "R622"
    run.close()


# -- log and records ---------------------------------------------------------------------------------------------------


def test_log_lines_are_what_parse_log_reads(tiny: Path) -> None:
    """tools/extra/parse_log.py: month and day in two digits each, a time, then its regular expressions."""
    import re
    from datetime import datetime

    stream = io.StringIO()
    solver = read_solver("solver.prototxt")
    solver.max_iter = 3
    run = load_solver(solver, report=Report(solver, Log(stream)))
    train(run)
    run.close()
    lines = stream.getvalue().splitlines()
    for line in lines:
        head, clock = line.split()[:2]
        datetime(2026, int(head[1:3]), int(head[3:5]), *map(int, re.split(r"[:.]", clock)))
    found = re.findall(r"T\w+ net output #(\d+): (\S+) = ([\.\deE+-]+)", stream.getvalue())
    assert {name for _, name, _ in found} == {"accuracy", "loss"}
    assert (
        len(re.findall(r"Iteration \d+ \([\d.e+]+ iter/s, [\d.e-]+s/1 iters\), loss = [\d.]+", stream.getvalue())) == 3
    )


def test_two_runs_with_one_prefix(tiny: Path) -> None:
    from netc.runtime.solver.preflight import PrefixLock

    run = load_solver("solver.prototxt")
    with PrefixLock(run.prefix), pytest.raises(NetcError) as caught:
        train(run)
    assert caught.value.code == "O611"
    run.close()
    assert not Path("tiny.lock").exists()


def test_folder_that_cannot_be_written(tiny: Path) -> None:
    Path("file").write_text("")
    Path("solver.prototxt").write_text(Path("solver.prototxt").read_text().replace('"tiny"', '"file/tiny"'))
    run = load_solver("solver.prototxt")
    with pytest.raises(NetcError) as caught:
        train(run)
    assert (caught.value.code, caught.value.exit_status) == ("O610", 73)
    line = 1 + Path("solver.prototxt").read_text().splitlines().index('snapshot_prefix: "file/tiny"')
    assert f"solver.prototxt:{line}:" in str(caught.value)
    run.close()


# -- first weights -----------------------------------------------------------------------------------------------------


def test_transplant_copies_the_layers_it_names(tiny: Path) -> None:
    first = load_solver("solver.prototxt", seed=8)
    weights = str(first.snapshot().with_suffix(".caffemodel"))
    solver = read_solver("solver.prototxt")
    solver.transplant_param.append(
        proto.TransplantParameter(weights=weights, copy=[proto.TransplantCopy(layer="conv")])
    )
    stream = io.StringIO()
    run = load_solver(solver, report=Report(solver, Log(stream)))
    assert torch.equal(first.net.params["conv"][0], run.net.params["conv"][0])
    assert not torch.equal(first.net.params["fc"][0], run.net.params["fc"][0])
    assert "conv                     copied" in stream.getvalue()
    assert "fc                       fresh" in stream.getvalue()
    given = load_solver(solver, weights=weights, report=Report(solver, Log(stream)))
    assert "the solver's transplant_param not used" in stream.getvalue()
    assert torch.equal(first.net.params["fc"][0], given.net.params["fc"][0])
    for one in (first, run, given):
        one.close()


def test_weights_of_another_net_are_refused(tiny: Path) -> None:
    first = load_solver("solver.prototxt", seed=8)
    weights = str(first.snapshot().with_suffix(".caffemodel"))
    first.close()
    with pytest.raises(NetcError, match="W724") as raised:
        load_solver(INPUTS.replace('"fc"', '"other"'), weights=weights)
    assert "the file has conv, fc, the net has other" in str(raised.value)


def test_layers_that_the_weights_lack_are_counted_and_named(tiny: Path) -> None:
    first = load_solver("solver.prototxt", seed=8)
    weights = str(first.snapshot().with_suffix(".caffemodel"))
    first.close()
    net = Path("net.prototxt").read_text()
    Path("net.prototxt").write_text(net.replace('"fc"', '"fc_new"'))
    expected = f"1 of 2 layers with parameters has no weights in {weights}: fc_new; it keeps what its fillers gave"
    with pytest.warns(UserWarning, match="fc_new") as warned:
        run = load_solver("solver.prototxt", weights=weights)
    assert [str(w.message) for w in warned if w.category is UserWarning] == [expected]
    stream = io.StringIO()
    load_solver("solver.prototxt", weights=weights, report=Report(run.param, Log(stream))).close()
    assert [line[0] for line in stream.getvalue().splitlines() if expected in line] == ["W"]
    run.close()


def test_a_caffemodel_given_as_the_net_brings_its_weights(tmp_path: Path) -> None:
    first = load_solver(INPUTS, seed=8)
    arrays = {name: [blob.detach().numpy() for blob in blobs] for name, blobs in first.net.params.items()}
    own = str(tmp_path / "own.caffemodel")
    weights.write_caffemodel(own, read_solver(INPUTS).net_param, arrays)
    run = load_solver(f'net: "{own}" base_lr: 0.1 lr_policy: "fixed"\n', seed=9)
    for found in (run.net, netc.load_net(own)):
        for mine, expected in zip(found.params["fc"], arrays["fc"], strict=True):
            assert np.array_equal(mine.detach(), expected)
    other = {"fc": [blob + 1 for blob in arrays["fc"]]}
    assert np.array_equal(netc.load_net(own, weights=other).params["fc"][0].detach(), other["fc"][0])


def test_transplant_from_a_net_that_is_not_trained_yet(tiny: Path) -> None:
    solver = read_solver("solver.prototxt")
    solver.transplant_param.add(weights="other_iter_*.caffemodel").copy.add(layer="conv")
    with pytest.raises(NetcError) as caught:
        load_solver(solver)
    assert caught.value.code == "F120"
    assert 'no weights "other_iter_*.caffemodel"' in str(caught.value)
    assert "train that net first" in str(caught.value)


def test_net_without_test_data_is_trained_as_in_caffe() -> None:
    """test_interval without test_iter: Caffe has no test nets then; netc has none where there is nothing to test on."""
    stream = io.StringIO()
    text = INPUTS + "test_interval: 1"
    run = load_solver(text, report=Report(netc.read_solver(text), Log(stream)))
    run.step(2, feed)
    assert run.test_nets == []
    assert "it is not tested" in stream.getvalue()


def test_a_data_layer_is_opened_for_the_phase_of_its_own(monkeypatch):
    from netc.runtime.net.module import Net

    opened, real = {}, feeding.open_feed

    def opening(layer, phase, *rest):
        opened[layer.name] = phase
        return real(layer, phase, *rest)

    monkeypatch.setattr(feeding, "open_feed", opening)
    shape = 'type: "DummyData" dummy_data_param { shape { dim: 2 } }'
    net = f'layer {{ name: "a" top: "a" phase: TEST {shape} }} layer {{ name: "b" top: "b" {shape} }}'
    Net(netc.compile_net(net, phase="TRAIN"))()
    assert opened == {"a": 1, "b": 0}


# -- nets that are not what was meant ----------------------------------------------------------------------------------


def test_a_training_net_without_a_loss_is_named_before_training(tiny: Path) -> None:
    """Caffe trains on with a loss of 0 (BVLC/caffe#1810)."""
    text = Path("net.prototxt").read_text()
    assert text.count('top: "loss" }') == 1
    Path("net.prototxt").write_text(text.replace('top: "loss" }', 'top: "loss" include { phase: TEST } }'))
    run = load_solver("solver.prototxt")
    with pytest.raises(NetcError, match='the net "tiny" has no loss: no layer has one in TRAIN') as caught:
        train(run)
    assert (caught.value.code, caught.value.path) == ("R604", "net.prototxt")
    assert "loss_weight: 1" in (caught.value.hint or "")
    assert not list(Path().glob("tiny*"))
    with pytest.raises(NetcError, match="has no loss"):
        run.step(1)
    run.close()


STAGED = """name: "st"
layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "fcA" type: "InnerProduct" bottom: "data" top: "fc" include { stage: "A" }
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "fcB" type: "InnerProduct" bottom: "data" top: "fc" include { RULE }
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize(
    "asked, rule, lacking",
    [
        ({"stages": ["A"]}, 'stage: "B"', 'test_state { stage: "A" }'),
        ({"level": 2}, "min_level: 2", "test_state { level: 2 }"),
    ],
)
def test_stages_that_reach_the_training_net_only(tiny: Path, asked: dict[str, Any], rule: str, lacking: str) -> None:
    """As in Caffe (BVLC/caffe#5369): the error says which net it is, and what asks for them there."""
    Path("staged.prototxt").write_text(STAGED.replace("RULE", rule))
    solver = 'net: "staged.prototxt" test_iter: 2 test_interval: 2 base_lr: 0.001 lr_policy: "fixed" max_iter: 4 '
    Path("staged_solver.prototxt").write_text(solver)
    with pytest.raises(NetcError) as caught:
        load_solver("staged_solver.prototxt", **asked)
    assert caught.value.code == "G402"
    assert caught.value.message.startswith("test net #0: ")
    assert lacking in (caught.value.hint or "")
    words = ["--stage=A"] if "stages" in asked else ["--level=2"]
    assert main(["check", "staged_solver.prototxt", *words]) == 65
    Path("staged_solver.prototxt").write_text(solver + lacking)
    assert load_solver("staged_solver.prototxt", **asked).test_nets
