"""Rates against formulas worked out by hand, and the plateau rule against the paper's sentence."""

from __future__ import annotations

import pytest

from netc import proto
from netc.solver.plateau import Plateau
from netc.solver.policies import POLICIES, drops, steps_taken


def rate(text: str, iteration: int) -> float:
    param = proto.SolverParameter(base_lr=0.5)
    for part in text.split():
        name, _, value = part.partition("=")
        if name == "stepvalue":
            param.stepvalue.extend(map(int, value.split(",")))
        else:
            setattr(param, name, value if name == "lr_policy" else type(getattr(param, name))(value))
    return POLICIES[param.lr_policy].rate(param, iteration)


@pytest.mark.parametrize(
    "settings, iteration, expected",
    [
        ("lr_policy=fixed", 99, 0.5),
        ("lr_policy=step gamma=0.5 stepsize=3", 2, 0.5),
        ("lr_policy=step gamma=0.5 stepsize=3", 7, 0.125),
        ("lr_policy=step stepsize=3", 2, 0.5),  # 0 ** 0 is 1
        ("lr_policy=step stepsize=3", 3, 0.0),
        ("lr_policy=exp gamma=0.5", 3, 0.0625),
        ("lr_policy=inv gamma=0.5 power=2", 6, 0.5 / 16),
        ("lr_policy=multistep gamma=0.5 stepvalue=2,5", 1, 0.5),
        ("lr_policy=multistep gamma=0.5 stepvalue=2,5", 4, 0.25),
        ("lr_policy=multistep gamma=0.5 stepvalue=2,5", 5, 0.125),
        ("lr_policy=poly power=2 max_iter=10", 5, 0.125),
        ("lr_policy=poly power=0.5 max_iter=10", 12, 0.0),
        ("lr_policy=sigmoid gamma=0.5 stepsize=4", 4, 0.25),
        ("lr_policy=sigmoid gamma=100 stepsize=50", 0, 0.0),
    ],
)
def test_rates(settings: str, iteration: int, expected: float) -> None:
    assert rate(settings, iteration) == pytest.approx(expected, rel=1e-6)


def test_multistep_takes_one_step_an_iteration() -> None:
    """Caffe compares one stepvalue with the iteration each time, so equal ones are taken one after the other."""
    param = proto.SolverParameter(lr_policy="multistep", stepvalue=[3, 3, 4, 9])
    assert [steps_taken(param, i) for i in range(11)] == [0, 0, 0, 1, 2, 3, 3, 3, 3, 4, 4]
    assert drops(param, 5) == 3
    assert drops(proto.SolverParameter(lr_policy="step", stepsize=4), 9) == 2


def plateau(**settings: object) -> Plateau:
    param = proto.SolverParameter(base_lr=0.01, gamma=0.1, lr_policy="plateau")
    param.plateau_param.CopyFrom(proto.PlateauParameter(**settings))
    return Plateau(param)


def test_the_papers_schedule() -> None:
    """Three drops by 10, each when the accuracy has stopped improving; then training ends (Sect. 3.1)."""
    rule = plateau(patience=2, max_drops=3)
    seen = [0.1, 0.2, 0.2, 0.19, 0.3, 0.3, 0.25, 0.3, 0.3, 0.3, 0.3]
    rates, ended = [], []
    for test, accuracy in enumerate(seen):
        rule.observe(accuracy, test * 100)
        rates.append(rule.rate)
        ended.append(rule.finished)
    assert rates == pytest.approx([1e-2] * 3 + [1e-3] * 3 + [1e-4] * 2 + [1e-5] * 3)
    assert ended == [False] * 9 + [False, True]


def test_loss_may_be_watched() -> None:
    rule = plateau(goal=1, patience=1, min_delta=0.1)
    assert [rule.observe(loss, i) for i, loss in enumerate([3.0, 2.0, 1.95, 1.0])] == [False, False, True, False]


def test_a_test_counts_once() -> None:
    rule = plateau(patience=2)
    assert [rule.observe(0.5, i) for i in (0, 5, 5, 5)] == [False] * 4
    again = plateau(patience=2)
    again.restore(rule.state(), 0)
    assert [again.observe(0.5, i) for i in (5, 10)] == [False, True]


def test_not_a_number_is_no_improvement() -> None:
    rule = plateau(patience=2)
    assert [rule.observe(x, i) for i, x in enumerate([float("nan"), 0.2, float("nan"), 0.1])] == [
        False,
        False,
        False,
        True,
    ]


def test_a_bare_state_knows_the_drops() -> None:
    rule = plateau()
    rule.restore({}, 2)
    assert rule.rate == pytest.approx(1e-4)
