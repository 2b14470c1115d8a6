"""An iteration, or a test, that goes on long after a signal is left in the middle, and no bit of the run changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import netc
from netc.runtime.net.module import Net
from netc.runtime.parallel.group import Group
from netc.runtime.solver import solver as solvers
from netc.runtime.solver.signals import Signals
from netc.runtime.solver.solver import Solver
from tests.runtime.parallel.test_iteration import BATCH_NORM, DROPOUT, LOSSES, net_with

LSTM = """layer { name: "x" type: "DummyData" top: "x" top: "cont" top: "y" dummy_data_param {
    shape { dim: 3 dim: 2 dim: 4 } shape { dim: 3 dim: 2 } shape { dim: 3 dim: 2 dim: 2 }
    data_filler { type: "gaussian" std: 1 } data_filler { value: 1 } data_filler { type: "gaussian" std: 1 } } }
  layer { name: "rnn" type: "LSTM" bottom: "x" bottom: "cont" top: "h"
    recurrent_param { num_output: 2 weight_filler { type: "uniform" min: -0.3 max: 0.3 } } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "h" bottom: "y" top: "loss" }"""
NETS = {"batch": net_with(LOSSES["ignored"], DROPOUT + BATCH_NORM), "lstm": LSTM}


class Later(Signals):
    """Asks for the end long before the layer that is to be run when `moments` more have been."""

    def __init__(self) -> None:
        super().__init__()
        self.moments = -1

    def passes(self) -> None:
        if self.moments == 0:
            self.caught, self._since = "SIGTERM", time.monotonic() - 100
            self._pending.add("stop")
        self.moments -= 1


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Each layer is a moment, forward and backward."""
    found, call = Later(), Net._call

    def counted(net: Net, *given: Any) -> Any:
        found.passes()
        tops = call(net, *given)
        if torch.is_grad_enabled() and tops and tops[0].requires_grad and not tops[0].is_leaf:
            tops[0].register_hook(lambda _: found.passes())
        return tops

    monkeypatch.setattr(Net, "_call", counted)
    return found


def run_of(folder: Path, name: str, **options: Any) -> Solver:
    more = f'base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 6 iter_size: 2 snapshot_prefix: "{folder}-run" '
    tests = f"test_iter: 3 test_interval: 2 test_net_param {{ {NETS[name]} }}"
    return netc.load_solver(f"{more} {tests} net_param {{ {NETS[name]} }}", **options)


def state_of(run: Solver) -> list[torch.Tensor]:
    kept = [part for parts in run.net.run.kept().values() for part in parts]
    return [tensor.detach().clone() for tensors in run.net.params.values() for tensor in tensors] + kept


def moments(run: Solver, signals: Later, what: Callable[[], object]) -> int:
    """How many layers `what` runs."""
    signals.moments = 1 << 30
    what()
    return (1 << 30) - signals.moments


@pytest.mark.parametrize(("name", "shards"), [("batch", 0), ("batch", 3), ("lstm", 0)])
def test_left_anywhere_and_resumed_it_ends_in_the_same_bits(
    tmp_path: Path, signals: Later, name: str, shards: int
) -> None:
    whole = run_of(tmp_path / "whole", name, shards=shards)
    whole.advance(3)
    many = moments(whole, signals, lambda: whole.advance(4))
    signals.moments = -1
    whole.advance(6)
    last = whole.test()
    assert many >= 8
    for moment in range(1, many - 1, 3 if many > 20 else 1):
        run = run_of(tmp_path / str(moment), name, shards=shards, signals=signals)
        with signals:
            run.advance(3)
            before = state_of(run)
            signals.moments = moment
            with pytest.warns(UserWarning, match="iteration 3 does not end within 8 s of the signal"):
                run.advance(6)
            assert (run.stopped, run.iter, signals.moments < 0) == ("signal", 3, True)
            assert all(map(torch.equal, state_of(run), before))
        signals.moments = -1
        again = run_of(tmp_path / str(moment), name, shards=shards, snapshot=str(run.last_snapshot))
        again.advance(6)
        assert all(map(torch.equal, state_of(again), state_of(whole)))
        assert again.test() == last


def test_a_test_is_left_and_repeated(tmp_path: Path, signals: Later) -> None:
    """It goes on from the hidden states that it began with."""
    whole = run_of(tmp_path / "whole", "lstm")
    whole.advance(6)
    run = run_of(tmp_path / "run", "lstm", signals=signals)
    with signals:
        run.advance(2)
        signals.moments = 3
        run.advance(6)
    assert (run.stopped, run.iter) == ("signal", 2)
    signals.moments = -1
    again = run_of(tmp_path / "run", "lstm", snapshot=str(run.last_snapshot))
    again.advance(6)
    assert again.test() == whole.test()


def test_within_its_time_it_is_finished(tmp_path: Path, signals: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "GRACE", 1e9)
    run = run_of(tmp_path, "batch", signals=signals)
    with signals:
        run.advance(1)
        signals.moments = 3
        run.advance(6)
    assert (run.stopped, run.iter) == ("signal", 2)


def test_another_process_tells_of_the_end(tmp_path: Path) -> None:
    """It, too, has been asked so long ago; the signal itself is looked at where all meet."""

    class Told(Group):
        @property
        def ending(self) -> float:
            return 100.0

    run = run_of(tmp_path, "batch", group=Told())
    with pytest.raises(netc.NetcError, match="does not end within 8 s") as caught, run._leaving(run.net):
        run.forward_backward()
    assert caught.value.code == "R704"
