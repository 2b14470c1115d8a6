"""One iteration over the units of its batches: what this process computes of it, and what all of them make of that.

The loss is the mean over the whole batch, so before any gradient is computed the processes agree on what each unit
counts (`_shares`). A layer that computes something else from the batch (BatchNorm's mean and variance) computes it from
the unit, as Caffe's does on each of several GPUs; its running sums then add the mean over the shards of a pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from netc.errors import NetcError
from netc.graph.ir import Graph
from netc.layers.facts import LABELS, SUM
from netc.runtime.net.feeding import FeedFunction
from netc.runtime.net.module import Net
from netc.runtime.parallel.divisible import ROWS, SAME, Kind, batch_of, kinds
from netc.runtime.parallel.group import Group
from netc.runtime.parallel.shards import Unit, block, units
from netc.runtime.parallel.sums import Sum, finish
from netc.runtime.solver.diverged import explain
from netc.runtime.solver.rules import Slot

Batch = dict[str, Tensor]


@dataclass
class Pass:
    """What a unit's forward pass gave: its share of the loss and of each scalar output, its rows of the others (if they
    are wanted), and what it gives the running sums."""

    unit: Unit
    loss: float
    scalars: dict[str, float] = field(default_factory=dict)
    rows: Batch = field(default_factory=dict)
    running: list[Tensor] = field(default_factory=list)


class Iteration:
    """Computes iterations of a net's training in `shards` parts of each batch, by the processes of `group`.

    `forward`: the net as it is run, where it is compiled. Raises NetcError R660 where the net's batches cannot be
    divided so.
    """

    def __init__(
        self,
        net: Net,
        slots: list[Slot],
        iter_size: int,
        shards: int,
        group: Group,
        forward: nn.Module | None = None,
    ) -> None:
        self._kinds = kinds(net.graph, shards, group.size)
        self.net, self.slots, self.group = net, slots, group
        self.iter_size, self.shards = iter_size, shards
        self._moving = [slot for slot in slots if slot.lr_mult]
        counters = {kind.counter for kind in self._kinds.values() if kind.name == LABELS}
        self._counted = {top: node for node in net.graph.nodes for top in node.top_names if top in counters}
        self._running = _Running(net)
        self._batch = batch_of(net.graph)
        self._net: Callable[[Batch], Batch] = forward or net
        self._sum = Sum(0)

    def run(self, iteration: int, feed: FeedFunction | None, wanted: bool) -> tuple[float, Batch]:
        """Forward and backward of one iteration: gradients come to stand in `.grad`. Returns the mean loss, and the
        outputs of the last pass: without `wanted` the scalars alone.

        Raises what the units raise, on every process the error of the first rank that has one; R630 for a loss that is
        not finite.
        """
        every = units(iteration, self.iter_size, self.shards)
        mine = self._own(every)
        self.group.doing(f"at iteration {iteration}, reading its batch")
        batches, shares, failed = self._prepared(mine, feed)
        self.group.doing(f"at iteration {iteration}, in its forward and backward pass")
        self._begin(len(every), mine[-1])
        passes: list[Pass] = []
        try:
            if failed is not None:
                raise failed
            for unit in mine:
                each, loss = self._forward(unit, batches.pop(unit), shares[unit], unit.k == every[-1].k and wanted)
                if not math.isfinite(each.loss):
                    raise self._diverged(unit, iteration, feed, each.loss)
                passes.append(each)
                self._backward(every.index(unit), loss)
        except NetcError as error:
            failed = error
        found = self.group.agree(failed, passes)  # before the gradients of all are summed up
        self.group.doing(f"at iteration {iteration}, summing up gradients")
        self._finish()
        done = [each for (of_rank,) in found for each in of_rank]
        self._running.fold(done, self.shards)
        return sum(each.loss for each in done) / self.iter_size, _outputs(done[-self.shards :], self._kinds)

    @torch.no_grad()
    def loss(self, iteration: int) -> float:
        """The loss of the first batch of an iteration."""
        every = units(iteration, self.iter_size, self.shards)[: self.shards]
        mine = self._own(every)
        batches, shares, failed = self._prepared(mine, None)
        passes = []
        try:
            if failed is not None:
                raise failed
            passes = [self._forward(unit, batches[unit], shares[unit], False)[0] for unit in mine]
        except NetcError as error:
            failed = error
        found = self.group.agree(failed, passes)
        return float(sum(each.loss for (of_rank,) in found for each in of_rank))

    def _own(self, every: list[Unit]) -> list[Unit]:
        """The units that this process computes: a block of them."""
        return [every[i] for i in block(len(every), self.group.rank, self.group.size)]

    # -- before the passes ---------------------------------------------------------------------------------------------

    def _prepared(
        self, mine: list[Unit], feed: FeedFunction | None
    ) -> tuple[dict[Unit, Batch], dict[Unit, dict[str, float]], NetcError | None]:
        """The data of this process's units, what the scalars of each unit count in the mean over its batch, and what is
        wrong with the data: only where labels are counted have the processes agreed on that."""
        batches: dict[Unit, Batch] = {}
        counts: dict[Unit, dict[str, float]] = {}
        failed = None
        try:
            for unit in mine:
                batches[unit] = self._batch_of(unit, feed)
            counts = {unit: self._counts(unit, batches[unit]) for unit in mine if self._counted}
        except NetcError as error:
            failed = error
        if self._counted:
            found, failed = self.group.agree(failed, counts), None
            counts = {unit: count for (of_rank,) in found for unit, count in of_rank.items()}
        return batches, {unit: self._shares(unit, counts) for unit in mine}, failed

    def _batch_of(self, unit: Unit, feed: FeedFunction | None) -> Batch:
        """Its data, in the precision of the net."""
        kind = self.slots[0].value.dtype if self.slots else torch.float32
        batch = self.net.feeding.batch(unit.k, feed, shard=unit.shard)
        return {top: tensor.to(kind) for top, tensor in batch.items()}

    @torch.no_grad()
    def _counts(self, unit: Unit, batch: Batch) -> dict[str, float]:
        """How many labels of a unit count, for each top that is a mean over them."""
        self._at(unit)
        blobs = dict.fromkeys(node.bottoms[1] for node in self._counted.values())
        labels = self.net.computed_from(batch, tuple(blobs))
        return {
            top: float(labels[node.bottoms[1]].long().ne(node.layer.ignore or 0).sum())
            for top, node in self._counted.items()
        }

    def _shares(self, unit: Unit, counts: Mapping[Unit, dict[str, float]]) -> dict[str, float]:
        """How much a unit's blobs count in those of its batch, where it is not as they are."""
        even = len(unit.shard.of(self._batch)) / self._batch if self._kinds else 1.0
        shares = {}
        for top, kind in self._kinds.items():
            if kind.name == LABELS:
                whole = sum(counts[other][kind.counter] for other in counts if other.k == unit.k)
                shares[top] = counts[unit][kind.counter] / whole if whole else even
            elif kind != ROWS and kind.name != SUM:
                shares[top] = even
        return shares

    # -- a pass --------------------------------------------------------------------------------------------------------

    def _at(self, unit: Unit) -> None:
        self.net.clock.iteration = unit.k
        self.net.clock.part, self.net.clock.batch = unit.shard.of(self._batch), self._batch

    def _forward(self, unit: Unit, batch: Batch, shares: dict[str, float], wanted: bool) -> tuple[Pass, Tensor]:
        self._at(unit)
        self._running.empty()
        self.net.run.look()
        outputs = self._net(batch)
        loss = self.net.losses(outputs, shares)
        last = {name: outputs[name].detach() for name in self.net.outputs}
        scalars = {name: _part(float(x), shares.get(name, 1.0)) for name, x in last.items() if not x.dim()}
        rows = {name: x.cpu() for name, x in last.items() if x.dim()} if wanted else {}
        return Pass(unit, float(loss.detach()), scalars, rows, self._running.taken()), loss

    # -- gradients -----------------------------------------------------------------------------------------------------

    def _begin(self, count: int, last: Unit) -> None:
        self._sum = Sum(count)

    def _backward(self, unit: int, loss: Tensor) -> None:
        """Add the gradient of a unit."""
        for slot in self.slots:
            slot.value.grad = None
        if loss.requires_grad:
            loss.backward()
        self._sum.add(unit, [slot.gradient() for slot in self._moving])

    def _finish(self) -> None:
        """The sum over all units comes to stand in `.grad`."""
        total = finish(self._sum, self.group)
        for slot in self.slots:
            slot.value.grad = None
        for slot, gradient in zip(self._moving, total, strict=True):
            slot.value.grad = gradient

    def _diverged(self, unit: Unit, iteration: int, feed: FeedFunction | None, loss: float) -> NetcError:
        """The whole batch is looked at, so that a row is named by its place in it."""
        given = dict(feed(unit.k)) if feed is not None else {}
        self.net.clock.part = None
        batch = self.net.feeding.batch(unit.k, (lambda k: given) if given else None)
        return explain(self.net, iteration, unit.k, batch, loss, given)


class Overlapped(Iteration):
    """The same with torch's own sum of gradients, bucket by bucket while the backward pass goes on: as fast as the
    machines allow, and equal to what one process computes up to rounding. There are as many shards as processes."""

    def __init__(
        self, net: Net, slots: list[Slot], iter_size: int, group: Group, forward: nn.Module | None = None
    ) -> None:
        super().__init__(net, slots, iter_size, group.size, group)
        unused = not all_reached(net.graph)  # to look for them costs a walk through the graph in each iteration
        self._parallel = DistributedDataParallel(
            forward or net, gradient_as_bucket_view=True, find_unused_parameters=unused
        )
        self._net = self._parallel

    def _begin(self, count: int, last: Unit) -> None:
        self._last = last
        for slot in self.slots:
            slot.value.grad = None

    def _forward(self, unit: Unit, batch: Batch, shares: dict[str, float], wanted: bool) -> tuple[Pass, Tensor]:
        self._parallel.require_backward_grad_sync = unit == self._last
        began = time.monotonic()
        found = super()._forward(unit, batch, shares, wanted)
        self._took = time.monotonic() - began
        return found

    def _backward(self, unit: int, loss: Tensor) -> None:
        """Add the gradient of a unit; the last one's waits for `_finish`, since it sums up those of all processes."""
        if self._parallel.require_backward_grad_sync:
            self._loss = loss
            self.net.run.look(ahead=2 * self._took)  # about what it takes, and no process can leave it by itself
        elif loss.requires_grad:
            self._mean(loss).backward()

    def _finish(self) -> None:
        loss, self._loss = self._loss, torch.zeros(())
        if loss.requires_grad:
            between, self.net.run.between_layers = self.net.run.between_layers, None
            try:
                with self.group.waiting("all_reduce"):
                    self._mean(loss).backward()
            finally:
                self.net.run.between_layers = between

    def _mean(self, loss: Tensor) -> Tensor:
        """torch takes the mean over the processes."""
        return loss * self.group.size


def all_reached(graph: Graph) -> bool:
    """Whether a loss depends on all parameters, so that each has a gradient in every pass."""
    asked = {top for node in graph.nodes for top, weight in zip(node.top_names, node.loss_weights) if weight}
    for node in reversed(graph.nodes):
        if not asked.isdisjoint(node.top_names):
            asked.update(bottom for bottom, flows in zip(node.bottoms, node.backward) if flows)
        elif any(not ref.blob.frozen for ref in node.params):
            return False
    return True


def _part(value: float, share: float) -> float:
    """Of a unit whose labels do not count, an accuracy is not a number, and no part of that of its batch."""
    return value * share if share else 0.0


def _outputs(passes: list[Pass], kinds: Mapping[str, Kind]) -> Batch:
    """The outputs of a whole pass from those of its units."""
    first = passes[0]
    scalars = {name: torch.tensor(sum(each.scalars[name] for each in passes)) for name in first.scalars}
    rows = {
        name: values if kinds.get(name) == SAME else torch.cat([each.rows[name] for each in passes])
        for name, values in first.rows.items()
    }
    return scalars | rows


class _Running:
    """The parameters that the passes themselves update (`Layer.running`)."""

    def __init__(self, net: Net) -> None:
        self._held: list[tuple[Callable[[], Tensor], float]] = []
        for step in net.steps:
            for position, kept in step.node.layer.running().items():
                holder, name = step.params[position]
                self._held.append((lambda holder=holder, name=name: getattr(holder, name), kept))  # type: ignore[misc]
        self._values: list[Tensor] = []

    @torch.no_grad()
    def empty(self) -> None:
        """Let a pass add to zeros, which leaves what its batch gives."""
        self._values = [held().clone() for held, _ in self._held]
        for held, _ in self._held:
            held().zero_()

    @torch.no_grad()
    def taken(self) -> list[Tensor]:
        """What a pass gives; the parameters are as they were before it."""
        given = [held().cpu().clone() for held, _ in self._held]
        for (held, _), value in zip(self._held, self._values, strict=True):
            held().copy_(value)
        return given

    @torch.no_grad()
    def fold(self, passes: list[Pass], shards: int) -> None:
        """Add what the passes gave, batch after batch: the mean over a batch's shards."""
        for first in range(0, len(passes), shards):
            of_batch = passes[first : first + shards]
            for index, (held, kept) in enumerate(self._held):
                total = of_batch[0].running[index].clone()
                for each in of_batch[1:]:
                    total += each.running[index]
                held().mul_(kept).add_((total / shards).to(held().device))
