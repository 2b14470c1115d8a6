"""A training run: the state, one iteration, and when to test and to save. Caffe's Solver, in the same order."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netc.errors import NetcError, raise_all
from netc.errors.foreign import allowing
from netc.errors.origin import Origin
from netc.graph.ir import Node
from netc.graph.read import NetSource, locate_solver, meant
from netc.runtime.net.compiled import Compiled
from netc.runtime.net.computing import FP32, computing
from netc.runtime.net.device import check_device
from netc.runtime.net.feeding import FeedFunction
from netc.runtime.net.module import Net
from netc.runtime.net.numerics import settle
from netc.runtime.parallel.group import Group
from netc.runtime.parallel.iteration import Iteration, Overlapped
from netc.runtime.parallel.memory import Plan, bytes_of
from netc.runtime.parallel.shards import too_many
from netc.runtime.parallel.tripwire import compare
from netc.runtime.parallel.watch import LOST
from netc.runtime.solver import initial, state
from netc.runtime.solver.bounds import Bounds
from netc.runtime.solver.diverged import explain, of_gradients, with_state
from netc.runtime.solver.nets import Builder
from netc.runtime.solver.report import Report
from netc.runtime.solver.rules import Slot, Updater
from netc.runtime.solver.signals import GRACE, LEFT, Signals
from netc.runtime.solver.snapshot import Snapshot
from netc.runtime.solver.tester import Result, run_test
from netc.runtime.solver.undo import Undo
from netc.solver.plans import NetPlan, of_test_net, test_plans, train_plan
from netc.solver.plateau import Plateau
from netc.solver.policies import POLICIES
from netc.solver.settings import HISTORIES, check, prefix


class Solver:
    """What `netc train` drives, and `netc.load_solver` returns.

    iter: iterations done. lr: the rate of the coming one. loss: mean over iter_size and over the last average_loss
    iterations. net, test_nets: the nets; the test nets use the training net's own parameters, layer by layer name.
    test_feed: what test nets with Input layers are fed by, {input blob: tensor} of forward pass k.
    last_snapshot: the state this run saved last or was continued from; None before either.
    start: the SHA-256 of the weights that a schedule has given it to start from; "" where it is none of its steps.
    id: the run that snapshots are of; None where none has been told. owner: the id of the run whose snapshot was
    restored.
    compare_every: iterations after which several processes compare their weights; 0: never.
    stopped: why training ended before its time ("signal", "plateau"), else None.
    """

    def __init__(
        self,
        param: Any,
        origin: Origin,
        *,
        weights: str | Sequence[str] | None = None,
        snapshot: str | Snapshot | None = None,
        device: str = "cpu",
        seed: int | None = None,
        workers: int | None = None,
        level: int = 0,
        stages: Iterable[str] = (),
        report: Report | None = None,
        signals: Signals | None = None,
        shards: int | None = None,
        group: Group | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        precision: str = FP32,
        channels_last: bool | None = None,
        compiled: bool = False,
        memory: str | int | None = None,
    ) -> None:
        """The options are those of `load_solver`. `report`: where the run tells what it does (default: nowhere).
        `signals`: what may end the run or ask for a snapshot, once it is entered. `group`: the processes that train
        together; rank 0 alone writes and reports."""
        check(param, origin)
        self.group = group or Group()
        self.shards = param.shards if shards is None else shards
        self.param, self.origin = param, origin
        self.computing = computing(precision, channels_last, device)
        self.seed = max(0, param.random_seed) if seed is None else seed
        self.iter = 0
        self.start = ""
        self.stopped: str | None = None
        self.signals = signals or Signals()
        self.test_feed: FeedFunction | None = None
        self.report = report or Report(param)
        self.losses: deque[float] = deque(maxlen=param.average_loss)
        self.plateau = Plateau(param) if param.lr_policy == "plateau" else None
        self._saved_at = -1
        self.id: str | None = None
        self.compare_every = 100
        self.owner: str | None = None
        self.given_weights = initial.names(weights) if weights is not None else []
        self.last_snapshot: Path | None = None
        self._unsaved: NetcError | None = None
        """Why the last snapshot that fell due is not there."""
        found = state.read(snapshot) if snapshot is not None else None
        plan = train_plan(param, origin.start.path, level, stages, origin)
        builder = Builder(self.seed, device, workers, output_dir, self.computing)
        first = initial.sources(param, origin, weights, found, builder.own_weights(plan))
        self._build(first, plan, builder)
        if memory is not None:
            self._fit_into(bytes_of(memory))
        self.forward_pass: nn.Module = Compiled(self.net, self.report.warn) if compiled else self.net
        self.divide()
        if found is not None:
            self._restore(found)

    def _build(self, first: initial.Sources, plan: NetPlan, builder: Builder) -> None:
        self.report.creating_train(plan.label)
        self.net = builder.build(builder.compile(plan), lambda net: first.copy_into(net, self.report))
        self.test_nets: list[Net] = []
        plans = test_plans(self.param, self.origin.start.path, self.origin)
        for number, tested in enumerate(self._testable(plans, builder)):
            self.report.creating_test(number, tested.label)
            try:
                compiled = builder.compile(tested)
            except NetcError as error:
                raise_all(of_test_net(error, number, tested, plan).errors)
            self.test_nets.append(builder.build(compiled, lambda net: net.share_from(self.net)))
        self._check_watched()
        self.slots = [self._slot(ref, tensor) for ref, tensor in self.net.own_params()]
        self._bounds = Bounds(self.net)
        self.updater = Updater(self.param, self.slots)
        self.last_update = [torch.zeros_like(slot.value) for slot in self.slots] if self.param.snapshot_diff else []

    def _fit_into(self, limit: int) -> None:
        """Set `shards` so that an iteration fits into so many bytes."""
        plan = Plan(self.net, self.param.type, self.param.iter_size, self.group.size)
        given, self.shards = self.shards, plan.parts(self.shards, limit)
        if self.shards > 1 and not given:
            self._warn_of_means(f"--memory has divided the batch into {self.shards} shards")

    def _warn_of_means(self, why: str) -> None:
        """Where the batch was divided without being asked for, what its layers compute from it is something else."""
        if mixing := [node.name for node in self.net.graph.nodes if node.layer.running()]:
            self.report.warn(f"{why}, and {', '.join(mixing)} takes means over each of them, not over the batch")

    def divide(self) -> None:
        """Decide how iterations are computed in parts; again where the net's precision has changed."""
        self.net.clock.passes = max(1, self.param.iter_size)
        self._divided = self._division()

    def _division(self) -> Iteration | None:
        """None where one process computes every batch whole."""
        self._check_writers()
        if not self.shards and self.group.size == 1:
            return None
        shards = self.shards or self.group.size
        if self.group.size > shards * self.param.iter_size:
            raise too_many(self.group.size, shards * self.param.iter_size)
        if not self.shards:
            self.report.rounded(self.group.size)
            self._warn_of_means(f"{self.group.size} processes have a part of the batch each")
            return Overlapped(self.net, self.slots, self.param.iter_size, self.group, self.forward_pass)
        return Iteration(self.net, self.slots, self.param.iter_size, shards, self.group, self.forward_pass)

    def options(self) -> dict[str, str]:
        """What training computes with, in words."""
        return {
            **self.computing.conditions(),
            "compiled": "yes" if isinstance(self.forward_pass, Compiled) else "no",
            "update": "fused" if self.updater.is_fused else "layer by layer",
            "shards": str(self.shards or "none"),
            "processes": str(self.group.size),
            "threads": str(torch.get_num_threads()),
        }

    def _check_writers(self) -> None:
        """Raises NetcError R666 for a layer that writes the rows of all passes, where this process has some of them."""
        for net in (self.net, *self.test_nets) if self.group.size > 1 else ():
            for node in net.graph.nodes:
                if node.layer.output_file and node.layer.effect:
                    raise NetcError(
                        "R666",
                        f'layer "{node.name}" ({node.type}) writes the rows of every pass to {node.layer.output_file}, '
                        f"and each of {self.group.size} processes has only some of them",
                        node.place,
                        "train with one process, or leave the layer out",
                    )

    def _testable(self, plans: list[NetPlan], builder: Builder) -> list[NetPlan]:
        """Without test_iter, Caffe tests nothing. netc tests on the whole set then, if the net has one."""
        if self.param.test_iter or len(self.param.test_net) + len(self.param.test_net_param):
            return plans
        kept = [plan for plan in plans if builder.feeds_itself(plan)]
        if len(kept) < len(plans):
            self.report.warn(
                "test_interval is set, but the net has no data layers for the TEST phase: it is not tested"
            )
        return kept

    def _slot(self, ref: Any, tensor: Tensor) -> Slot:
        history = [torch.zeros_like(tensor, requires_grad=False) for _ in range(HISTORIES[self.param.type])]
        return Slot(tensor, history, 0.0 if ref.blob.frozen else ref.lr_mult, ref.decay_mult)

    def _check_watched(self) -> None:
        if self.plateau is None:
            return
        watched = self.param.plateau_param
        outputs = self.test_nets[watched.test_net].outputs if watched.test_net < len(self.test_nets) else ()
        if watched.output not in outputs:
            raise NetcError(
                "R613",
                f'test net #{watched.test_net} has no output "{watched.output}"',
                self.origin.place("plateau_param.output"),
                f"its outputs: {', '.join(outputs) or 'none'}",
            )

    @property
    def unfed(self) -> Node | None:
        """The first source of the training net whose batches `step` has to be given."""
        return next(iter(self.net.feeding.unfed), None)

    @property
    def lr(self) -> float:
        """The learning rate of iteration `iter`, the next to be done."""
        return self.plateau.rate if self.plateau else POLICIES[self.param.lr_policy].rate(self.param, self.iter)

    @property
    def loss(self) -> float:
        """The loss Caffe prints; NaN before the first iteration."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    # -- training ------------------------------------------------------------------------------------------------------

    def step(self, n: int, feed: FeedFunction | None = None) -> float:
        """Do `n` iterations, with the tests and snapshots that fall due, and return the loss (averaged over those of
        this call). A net with Input layers takes its batches from feed(k), k counting forward passes from 0.

        Raises NetcError R601 (an input is missing), R615 (iter_size below 1), R621 (label out of range), R630 (the
        loss is not finite; the parameters are those of the last iteration then), and what `snapshot` raises where the
        last one that fell due could not be saved.
        """
        self.losses.clear()
        try:
            self.advance(self.iter + n, feed)
        except NetcError as error:
            raise with_state(error, self.last_snapshot) from None
        self._require_saved()
        return self.loss

    def advance(self, stop: int, feed: FeedFunction | None = None) -> None:
        """Train until `iter` is `stop`, a signal asks for the end, or the plateau policy has ended training."""
        self.stopped = None
        if self.iter < stop and self.param.iter_size < 1:  # Caffe trains on: parameters times 1 / 0
            message = f"iter_size is {self.param.iter_size}: an iteration sees no batch, and has no loss"
            raise NetcError("R615", message, self.origin.place("iter_size"), "leave iter_size out, or set it to 1")
        self._compare()
        while self.iter < stop:
            if self.test_due() and not self.scheduled_tests():
                return
            try:
                self._iterate(feed)
            except NetcError as error:
                if error.code != LEFT:
                    raise
                self.report.warn(f"{error.message}: the state before it is saved", self.iter)
            if self._handle_signals():
                return

    def _iterate(self, feed: FeedFunction | None) -> None:
        try:
            with self._leaving(self.net), self._bounds.watching():
                loss, outputs = self.forward_backward(feed)
            sure = self._bounds.finite if self.group.size == 1 else _unsure
            if (diverged := of_gradients(self.net, self.slots, self.iter, loss, sure)) is not None:
                raise diverged
        except NetcError:
            self._undo.back()
            raise
        self.losses.append(loss)
        if self._displayed():
            self.report.training(self.iter, self.loss, outputs, self.lr, self.net)
        self.apply_update()
        self.report.iterated(self.iter, loss)
        if self.compare_every and self.iter % self.compare_every == 0:
            self._compare()

    @contextmanager
    def _leaving(self, net: Net) -> Iterator[None]:
        """Within it, passes of `net` are left in the middle where the end was asked for longer than `GRACE` ago.
        NetcError R704 is raised then."""

        def look(ahead: float) -> None:
            waiting = max(self.signals.waiting, self.group.ending)
            if waiting and waiting + ahead > GRACE:
                message = f"iteration {self.iter} does not end within {GRACE:g} s of the signal"
                raise NetcError(LEFT, message, None, "--resume auto goes on from the state before it")

        net.run.between_layers = look
        try:
            yield
        finally:
            net.run.between_layers = None

    def _compare(self) -> None:
        """The weights of all processes are the same; also before the first iteration, and the last snapshot."""
        if self.compare_every:
            compare(self.group, self.net.params, self.iter)

    def _displayed(self) -> bool:
        return bool(self.param.display) and self.iter % self.param.display == 0

    def forward_backward(self, feed: FeedFunction | None = None) -> tuple[float, dict[str, Tensor]]:
        """Run iter_size batches forward and backward; gradients add up in `.grad`. Returns the mean loss and the
        outputs of the last batch."""
        self._undo = Undo(self.net)
        if self._divided is not None:
            return self._divided.run(self.iter, feed, self._displayed())
        for slot in self.slots:
            slot.value.grad = None
        total, size = 0.0, self.param.iter_size
        outputs: dict[str, Tensor] = {}
        for k in range(self.iter * size, (self.iter + 1) * size):
            outputs = self._forward(k, feed)
            loss = self.net.losses(outputs)
            if loss.requires_grad:
                loss.backward()
            value = float(loss.detach())
            if not math.isfinite(value):
                given = dict(feed(k)) if feed is not None else {}
                batch = self.net.feeding.batch(k, lambda _, tops=given: tops)  # type: ignore[misc]
                self._undo.back()
                raise explain(self.net, self.iter, k, batch, value, given)
            total += value
        return total / size, {name: outputs[name].detach() for name in self.net.outputs}

    def _forward(self, k: int, feed: FeedFunction | None) -> dict[str, Tensor]:
        self.net.clock.iteration = k
        self.net.run.look()
        return self.forward_pass(self.net.feeding.batch(k, feed))  # type: ignore[no-any-return]

    def apply_update(self) -> None:
        """Clip, divide by iter_size, decay and update with the rate of this iteration; then `iter` counts it."""
        before = [slot.value.detach().clone() for slot in self.slots] if self.param.snapshot_diff else []
        self.report.rate(self.iter, self.lr, self._displayed())
        self.report.clipped(self.updater.apply(self.lr, self.iter))
        self.last_update = [old - slot.value.detach() for old, slot in zip(before, self.slots)]
        self.iter += 1

    def _handle_signals(self) -> bool:
        """Save where a snapshot is due or asked for; True where the end is asked for."""
        asked = {name for of_rank in self.group.gather(sorted(self.signals.take())) for name in of_rank}
        due = bool(self.param.snapshot) and self.iter % self.param.snapshot == 0
        if (due or asked) and self._saved_at != self.iter:
            self._try_snapshot()
        if "stop" in asked:
            self._require_saved()
            self.stopped = "signal"
        return self.stopped is not None

    # -- testing -------------------------------------------------------------------------------------------------------

    def test(self, feed: FeedFunction | None = None) -> list[dict[str, float]]:
        """Test every test net now and return {output: mean} of each. Nothing else changes: a plateau policy does not
        look at it, and the data are those of the next scheduled test."""
        results = [self.test_net(number, feed) for number in range(len(self.test_nets))]
        return [{name: result.value(name) for name in result.outputs} for result in results]

    def test_due(self) -> bool:
        """Is there a scheduled test before iteration `iter`?"""
        interval = self.param.test_interval
        if not self.test_nets or not interval or self.iter % interval:
            return False
        return self.iter > 0 or bool(self.param.test_initialization)

    def tests_before(self) -> int:
        """How many tests were scheduled before iteration `iter`: the turn that the next one has in the data."""
        interval = self.param.test_interval
        if not interval:
            return 0
        scheduled = -(-self.iter // interval)
        return int(scheduled - (self.iter > 0 and not self.param.test_initialization))

    def scheduled_tests(self) -> bool:
        """Run the tests due now; False where training ends here: a test that was cut short is repeated by who resumes,
        from the hidden states that it began with."""
        before = [Undo(net) for net in self.test_nets]
        for number in range(len(self.test_nets)):
            result = self.test_net(number, self.test_feed)
            if self._stopping():
                break
            self.watch(number, result)
        if self._stopping():
            for undo in before:
                undo.back()
            return not self._handle_signals()
        return self.stopped is None

    def watch(self, number: int, result: Result) -> None:
        """What a scheduled test changes: the plateau policy looks at its own net's."""
        if self.plateau is None or number != self.param.plateau_param.test_net:
            return
        if self.plateau.observe(result.value(self.param.plateau_param.output), self.iter):
            self.report.dropped(self.iter, self.plateau)
        if self.plateau.finished:
            self.stopped = "plateau"
            self._saved_at = -1  # a snapshot from before this test does not know of the end

    def test_net(self, number: int, feed: FeedFunction | None = None) -> Result:
        """Test one net now, and report it."""
        net = self.test_nets[number]
        if (unfed := net.feeding.unfed) and feed is None:
            inputs = ", ".join(top for node in unfed for top in node.tops)
            raise NetcError(
                "R623",
                f"test net #{number} has the inputs {inputs}, and nothing feeds them",
                unfed[0].place,
                "set run.test_feed, or use a Data layer",
            )
        test_iter = self.param.test_iter[number] if self.param.test_iter else None
        self.report.testing(self.iter, number)
        self.group.doing(f"at iteration {self.iter}, testing net #{number}")
        with self._leaving(net):
            result = run_test(net, test_iter, self.tests_before(), feed, self._go_on, self.group)
        if not self._stopping():
            self.report.tested(self.iter, number, result, self.param.test_compute_loss)
        return result

    def _stopping(self) -> bool:
        """Whether a signal has asked any of the processes for the end."""
        return any(self.group.gather(self.signals.stopping))

    def _go_on(self, k: int, outputs: dict[str, Tensor]) -> bool:
        return not self.signals.stopping

    # -- snapshots -----------------------------------------------------------------------------------------------------

    @property
    def prefix(self) -> Path:
        """What the names of snapshots begin with."""
        return prefix(self.param, self.origin.start.path)

    def snapshot(self) -> Path:
        """Save weights and state as PREFIX_iter_N.caffemodel and .solverstate; returns the state's path."""
        path = self._saved()
        self._saved_at, self.last_snapshot, self._unsaved = self.iter, path, None
        self.report.saved(path, self.iter)
        return path

    @property
    def saved(self) -> bool:
        """Whether this run has saved the iteration that it has come to."""
        return self._saved_at == self.iter

    def finite(self) -> bool:
        """Whether all parameters are."""
        return all(bool(torch.isfinite(tensor).all()) for tensors in self.net.params.values() for tensor in tensors)

    def save_if_new(self, since: int) -> None:
        """Save a snapshot if iterations were done after `since` and the last one is not saved yet. Raises nothing: a
        failure is a warning."""
        if self.iter > since and self._saved_at != self.iter:
            try:
                self.snapshot()
            except NetcError as error:
                self.report.warn(f"no snapshot of iteration {self.iter}: {error}", self.iter)

    def _try_snapshot(self) -> None:
        """A disk that is full now may have room at the next snapshot; what has been learnt is worth the attempt."""
        try:
            self.snapshot()
        except NetcError as error:
            if error.code == LOST:  # not the disk: no snapshot will ever be agreed on
                raise
            self._unsaved = error
            self.report.warn(f"no snapshot of iteration {self.iter}, training goes on: {error}", self.iter)

    def _require_saved(self) -> None:
        if self._unsaved is not None:
            error, self._unsaved = self._unsaved, None
            raise error

    def _saved(self) -> Path:
        """Rank 0 writes; where it fails, all do."""
        self.group.doing(f"at iteration {self.iter}, saving a snapshot")
        path: Path | None = None
        failed = None
        if self.group.first:
            try:
                path = state.save(self)
            except NetcError as error:
                failed = error
        return Path(self.group.agree(failed, path)[0][0])

    def restore(self, path: str | Path) -> None:
        """Continue from a snapshot (Caffe's own, or netc's). With netc's, what follows is bit for bit what an
        undisturbed run does. Raises NetcError R640 (no state), R641 (another net's), R642 (another solver's), or the
        reader's own; the run is as it was then."""
        self._restore(state.read(path))

    def _restore(self, found: Snapshot) -> None:
        self._saved_at = -1
        self.report.resuming(str(found.path))
        for warning in state.restore(self, found):
            self.report.warn(warning)
        self.last_snapshot, self.owner = found.path, found.extras.get("run")

    def finish(self) -> None:
        """What ends a training run: the last snapshot, and where they are due the loss and tests of the trained net."""
        self._compare()
        if self.param.snapshot_after_train and self._saved_at != self.iter:
            self.snapshot()
        self._require_saved()
        if self.stopped is not None:
            return
        if self._displayed():
            self.losses.append(self._last_loss())
            self.report.last_loss(self.iter, self.loss)
        if self.test_due():
            self.scheduled_tests()

    @torch.no_grad()
    def _last_loss(self) -> float:
        """The loss of the batch that would come next, before anything is learned from it."""
        if self._divided is not None:
            return self._divided.loss(self.iter)
        return float(self.net.losses(self._forward(self.iter * self.param.iter_size, None)))

    def close(self) -> None:
        """End the decoding workers and close the databases."""
        for net in (self.net, *self.test_nets):
            net.feeding.close()


def _unsure(weight: Tensor) -> bool:
    """What a process has computed bounds nothing of the others' gradients."""
    return False


def load_solver(
    source: NetSource,
    weights: str | Sequence[str] | None = None,
    snapshot: str | Snapshot | None = None,
    device: str | torch.device = "cpu",
    *,
    seed: int | None = None,
    workers: int | None = None,
    level: int = 0,
    stages: Iterable[str] = (),
    precision: str = FP32,
    channels_last: bool | None = None,
    compiled: bool = False,
    memory: str | int | None = None,
    allow_python_layers: Iterable[str] = (),
    output_dir: str | os.PathLike[str] | None = None,
    report: Report | None = None,
    signals: Signals | None = None,
    shards: int | None = None,
    group: Group | None = None,
) -> Solver:
    """Read a solver (path, prototxt text or SolverParameter) and build its nets, ready to train.

    >>> solver = netc.load_solver('''
    ...     base_lr: 0.1 lr_policy: "fixed" max_iter: 3
    ...     net_param {
    ...       layer { name: "data" type: "DummyData" top: "x" top: "y" dummy_data_param {
    ...         shape { dim: 4 dim: 2 } shape { dim: 4 } data_filler { type: "gaussian" } data_filler { } } }
    ...       layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 3 } }
    ...       layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" top: "loss" } }''')
    >>> loss = solver.step(3)
    >>> solver.iter
    3

    The name of a net that comes with netc, or a folder, is its solver.prototxt. weights: files to start from, instead
    of the solver's own `weights` and `transplant_param`. snapshot: a .solverstate to continue from, instead of either.
    seed: default: random_seed, or 0. workers: threads that decode images. level, stages: of the training net.
    precision: "fp32", "tf32" or "bf16": what products are computed in (docs/training.md; what this sets in torch is in
    netc.runtime.net.numerics). channels_last: default: as is fastest. compiled: by torch.compile.
    memory: "24GB", to divide the batch so that training fits. allow_python_layers: the modules whose Python
    layers may run. output_dir: below which folder HDF5Output layers may write (default: the working folder).
    report, signals, shards, group: as of `Solver`.
    Raises NetcError, C201 and C251 for a device that is not here among them.
    """
    check_device(device)
    settle(precision=precision)
    param, origin = locate_solver(meant(source, "solver.prototxt"))
    options: dict[str, Any] = {"report": report, "signals": signals, "shards": shards, "group": group}
    options |= {"precision": precision, "channels_last": channels_last, "compiled": compiled, "memory": memory}
    with allowing(allow_python_layers):
        return Solver(
            param,
            origin,
            weights=weights,
            snapshot=snapshot,
            device=str(device),
            seed=seed,
            workers=workers,
            level=level,
            stages=stages,
            output_dir=output_dir,
            **options,
        )
