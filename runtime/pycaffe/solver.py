"""pycaffe's solvers, on a training run of netc's: each step goes over the blobs of `solver.net`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from netc.errors.foreign import EVERY, allowing
from netc.graph.read import locate_solver
from netc.runtime.net.numerics import settle
from netc.runtime.pycaffe import files, machine
from netc.runtime.pycaffe.blob import ParamBlob
from netc.runtime.pycaffe.net import Net, check_file
from netc.runtime.solver.log import Log, loss_weights
from netc.runtime.solver.report import Report
from netc.runtime.solver.solver import Solver as Run
from netc.runtime.solver.tester import Mean, Result

Hook = Callable[[], Any]


class Solver:
    """A solver: `net` and `test_nets` with blobs, `iter` iterations done.

    The class decides the update rule, as in pycaffe: SGDSolver takes SGD's whatever `type` the file has. `get_solver`
    goes by the file. Raises RuntimeError for a file that is not there; NetcError where Caffe would end the process.
    """

    kind: ClassVar[str] = ""

    def __init__(self, solver_file: Any) -> None:
        check_file(solver_file)
        settle()
        param, origin = locate_solver(solver_file)
        param.type = self.kind or param.type
        seed = param.random_seed if param.random_seed >= 0 else machine.next_seed()
        report = Report(param, Log(machine.stderr()))
        with files.as_raised(), allowing([EVERY]):
            device = machine.device()
            self._run = Run(param, origin, device=device, seed=seed, report=report, channels_last=False)
        self.net = Net.of(self._run.net)
        self.test_nets = [Net.of(net) for net in self._run.test_nets]
        self._blobs: list[ParamBlob] = self.net.own_params()
        self._hooks: list[tuple[Hook, Hook]] = []

    # -- what it has ---------------------------------------------------------------------------------------------------

    @property
    def param(self) -> Any:
        """The SolverParameter; fields that are set in it count from the next iteration on."""
        return self._run.param

    @property
    def type(self) -> str:
        return str(self.param.type)

    @property
    def iter(self) -> int:
        return self._run.iter

    @property
    def max_iter(self) -> int:
        return int(self.param.max_iter)

    @property
    def lr(self) -> float:
        """The rate of the next iteration."""
        return self._run.lr

    @property
    def base_lr(self) -> float:
        return float(self.param.base_lr)

    @base_lr.setter
    def base_lr(self, rate: float) -> None:
        self.param.base_lr = rate

    def add_callback(self, on_start: Hook, on_gradients_ready: Hook) -> None:
        """Call one function at the start of each iteration, the other before its update."""
        self._hooks.append((on_start, on_gradients_ready))

    def share_weights(self, net: Net) -> None:
        """Give `net` the parameters of this solver's net, themselves and not copies."""
        net.share_with(self.net)

    # -- training ------------------------------------------------------------------------------------------------------

    def step(self, iters: int) -> None:
        """Do so many iterations, with the tests and snapshots that fall due."""
        self._run.losses.clear()
        stop = self.iter + iters
        while self.iter < stop:
            self.net.clear_param_diffs()
            if self._run.test_due():
                self._test()
            for on_start, _ in self._hooks:
                on_start()
            self._iterate()
            for _, on_gradients_ready in self._hooks:
                on_gradients_ready()
            self.apply_update()
            if self.param.snapshot and self.iter % self.param.snapshot == 0:
                self.snapshot()

    def _iterate(self) -> None:
        total, last = 0.0, len(self.net.layers) - 1
        for _ in range(self.param.iter_size):
            total += self.net._forward(0, last)
            self.net._backward(last, 0)
        self._run.losses.append(total / self.param.iter_size)
        if self._displayed():
            self._run.report.training(self.iter, self._run.loss, self._outputs(self.net), self.lr, self._run.net)

    def _displayed(self) -> bool:
        return bool(self.param.display) and self.iter % self.param.display == 0

    def _outputs(self, net: Net) -> dict[str, torch.Tensor]:
        return {name: net.tensor(name) for name in net.outputs}

    def apply_update(self) -> None:
        """Update the parameters from their diffs, which hold the update afterwards, and count the iteration."""
        for slot, blob in zip(self._run.slots, self._blobs, strict=True):
            slot.value = blob.tensor
            slot.value.grad = blob.gradient() if slot.lr_mult else None
        self._run.report.rate(self.iter, self.lr, self._displayed())
        self._run.report.clipped(self._run.updater.updates(self.lr, self.iter))
        for slot in self._run.slots:
            if slot.value.grad is not None:
                slot.value.data.sub_(slot.value.grad)
        if self.param.snapshot_diff:
            self._run.last_update = [slot.gradient().clone() for slot in self._run.slots]
        for slot in self._run.slots:
            slot.value.grad = None
        self._run.iter += 1

    def solve(self, resume_file: Any = None) -> None:
        """Train up to max_iter, then save and test as `caffe train` does."""
        if resume_file is not None:
            self.restore(resume_file)
        self.step(max(0, self.max_iter - self.iter))
        if self.param.snapshot_after_train and not (self.param.snapshot and self.iter % self.param.snapshot == 0):
            self.snapshot()
        if self._displayed():
            self._run.losses.append(self.net._forward(0, len(self.net.layers) - 1))
            self._run.report.last_loss(self.iter, self._run.loss)
        if self._run.test_due():
            self._test()

    def _test(self) -> None:
        for number, net in enumerate(self.test_nets):
            result = self._tested(number, net) if self.param.test_iter else self._run.test_net(number)
            self._run.watch(number, result)

    def _tested(self, number: int, net: Net) -> Result:
        self._run.report.testing(self.iter, number)
        mean = Mean(loss_weights(self._run.test_nets[number].graph))
        for _ in range(self.param.test_iter[number]):
            net._forward(0, len(net.layers) - 1)
            mean.add(net.returned(), 1.0)
        result = mean.result(tuple(net.outputs), samples=False)
        self._run.report.tested(self.iter, number, result, self.param.test_compute_loss)
        return result

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> None:
        """Save PREFIX_iter_N.caffemodel and .solverstate, PREFIX being the file's snapshot_prefix."""
        self.net.carry_params()
        self._run.snapshot()

    def restore(self, path: Any) -> None:
        """Go on from a .solverstate: parameters, history, `iter`, and where the data of training stand."""
        self.net.carry_params()
        self._run.restore(os.fspath(path))
        position = self.iter * self.param.iter_size
        self._run.net.clock.iteration = self._run.net.feeding.position = position


class SGDSolver(Solver):
    kind = "SGD"


class NesterovSolver(Solver):
    kind = "Nesterov"


class AdaGradSolver(Solver):
    kind = "AdaGrad"


class RMSPropSolver(Solver):
    kind = "RMSProp"


class AdaDeltaSolver(Solver):
    kind = "AdaDelta"


class AdamSolver(Solver):
    kind = "Adam"


def get_solver(solver_file: Any) -> Solver:
    """The solver of the class that the file's `type` names."""
    check_file(solver_file)
    kind = locate_solver(solver_file)[0].type
    classes = {cls.kind: cls for cls in Solver.__subclasses__()}
    return classes.get(kind, Solver)(solver_file)
