"""Testing a net: which batches a test takes, and the mean of each output over them (Solver::Test)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from netc.errors import NetcError, Place
from netc.runtime.net.feeding import FeedFunction, Feeding
from netc.runtime.net.module import Net
from netc.runtime.parallel.group import Group
from netc.runtime.solver.log import loss_weights
from netc.runtime.solver.signals import LEFT


@dataclass(slots=True)
class Result:
    """Means over a test: `outputs` by blob name (double precision, CPU), the total `loss` (None: the net has none),
    and how many batches and samples they are over (samples 0: unknown)."""

    outputs: dict[str, Tensor] = field(default_factory=dict)
    loss: float | None = None
    batches: int = 0
    samples: int = 0
    weights: dict[str, float] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """The mean of an output blob over all its values."""
        return float(self.outputs[name].mean())


@dataclass(frozen=True, slots=True)
class Batch:
    """Forward pass `number`, its records ending at position `stop` (None: a full batch), weighing `weight`."""

    number: int
    stop: int | None
    weight: float


def batches(feeding: Feeding, test_iter: int | None, turn: int, place: Place | None = None) -> Iterator[Batch]:
    """The batches of test number `turn` (counted from 0).

    With test_iter they go on where the previous test stopped, as Caffe's data cursor does, and weigh the same; the
    position is computed from `turn`, so a resumed run tests on the same records. Without it they are the whole set,
    each record once, weighted by their number of records, the last batch short where need be.
    Raises NetcError R622 where the number of records is not known.
    """
    if test_iter is not None:
        yield from (Batch(turn * test_iter + k, None, 1.0) for k in range(test_iter))
        return
    size, batch = None if feeding.unfed else feeding.size, feeding.batch_size
    if size is None:
        raise NetcError(
            "R622",
            "test_iter is not set, and the test net's source does not know how many records it has",
            place,
            "add test_iter: the number of batches of a test",
        )
    for k in range(-(-size // batch)):
        yield Batch(k, size, float(min(batch, size - k * batch)))


@torch.no_grad()
def run_test(
    net: Net,
    test_iter: int | None,
    turn: int = 0,
    feed: FeedFunction | None = None,
    on_batch: Callable[[int, dict[str, Tensor]], bool] | None = None,
    group: Group | None = None,
) -> Result:
    """Run one test. `feed` gives what the net has no data for; a net that has data for all of its sources is not asked.
    `on_batch(k, outputs)` sees every batch and may end the test early by returning False. The processes of `group` take
    turns, a whole batch each, and every one of them has the result of all.

    An output whose first axis is the batch has another shape in a short last batch: its mean is over the full ones.
    """
    mean, group, going = Mean(loss_weights(net.graph)), group or Group(), True
    if any(node.layer.carries_state for node in net.graph.nodes):
        group = Group()  # every batch goes on from the one before: each process computes all of them
    if not net.feeding.unfed:
        feed = None
    every = list(batches(net.feeding, test_iter, turn))
    for first in range(0, len(every), group.size):
        turns = every[first : first + group.size]
        found = _turn(net, turns, feed, group, going)
        if found is None:
            break
        for position, (values, batch) in enumerate(zip(found, turns), first):
            mean.add(values, batch.weight)
            if on_batch is not None and not on_batch(position, {name: values[name] for name in net.outputs}):
                going = False
        if not going and group.size == 1:
            break
    return mean.result(net.outputs, samples=test_iter is None)


def _turn(
    net: Net, turns: list[Batch], feed: FeedFunction | None, group: Group, going: bool
) -> list[dict[str, Tensor]] | None:
    """One batch of every process; None where one of them does not go on."""
    values, failed = {}, None
    try:
        if group.rank < len(turns):
            batch = turns[group.rank]
            net.clock.iteration = batch.number
            values = net(net.feeding.batch(batch.number, feed, batch.stop, step=group.size))
    except NetcError as error:
        failed = error if error.code != LEFT else None
        going = going and failed is not None
    if group.size > 1:
        values = {name: value.cpu() for name, value in values.items()}
    found = group.agree(failed, values, going)
    return [values for values, _ in found] if all(going for _, going in found) else None


class Mean:
    """Weighted means of every blob the net returns, and of the loss."""

    def __init__(self, weights: dict[str, float]) -> None:
        self._weights = weights
        self._sums: dict[str, Tensor] = {}
        self._totals: dict[str, float] = {}
        self._batches, self._samples, self._loss = 0, 0.0, 0.0

    def add(self, values: dict[str, Tensor], weight: float) -> None:
        self._batches += 1
        self._samples += weight
        for name, value in values.items():
            part = value.detach().double().cpu()
            self._loss += self._weights.get(name, 0.0) * weight * float(part.sum())
            if name not in self._sums:
                self._sums[name], self._totals[name] = part * weight, weight
            elif self._sums[name].shape == part.shape:
                self._sums[name] += part * weight
                self._totals[name] += weight

    def result(self, outputs: tuple[str, ...], samples: bool) -> Result:
        if not self._batches:
            return Result()
        means = {name: self._sums[name] / self._totals[name] for name in outputs}
        loss = self._loss / self._samples if self._weights else None
        return Result(means, loss, self._batches, int(self._samples) if samples else 0, self._weights)
