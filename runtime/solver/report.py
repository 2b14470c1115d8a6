"""What a training run tells: Caffe's log lines, a record in PREFIX.metrics.jsonl, the progress line."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from netc.runtime.net.module import Net
from netc.runtime.solver.log import Log, loss_weights, values_of
from netc.runtime.solver.metrics import Metrics, path_of
from netc.runtime.solver.progress import Progress
from netc.solver.policies import steps_taken
from netc.weights.fitting import missing


class Report:
    """Writes to `log` and `progress`, and to the records once a whole run is `starting`. Nothing here ends training:
    a record that cannot be written is told of, once."""

    def __init__(self, param: Any, log: Log | None = None, progress: Progress | None = None) -> None:
        self.param, self.log, self.progress = param, log or Log(None), progress
        self.metrics: Metrics | None = None
        self.fresh: list[str] = []
        self._clock = _Clock()
        self._lost = 0
        """Records in a row that could not be written."""

    # -- before training -----------------------------------------------------------------------------------------------

    def creating_train(self, label: str) -> None:
        self.log.info("solver.cpp:102", f"Creating training net from {label}")

    def creating_test(self, number: int, label: str) -> None:
        self.log.info("solver.cpp:190", f"Creating test net (#{number}) specified by {label}")

    def finetuning(self, path: str, plan: Any) -> None:
        self.log.info("solver.cpp:72", f"Finetuning from {path}")
        self.log.info("net.cpp:757", str(plan))
        for remark in plan.remarks:
            self.warn(remark)

    def missing(self, fresh: list[str], layers: int, path: str) -> None:
        """Of the layers with parameters, these had no weights in any file."""
        self.fresh = fresh
        if said := missing(fresh, layers, path):
            self.warn(said)

    def transplanted(self, plan: Any) -> None:
        self.log.info("net.cpp:757", str(plan))

    def resuming(self, path: str) -> None:
        self.log.info("caffe.cpp:235", f"Resuming from {path}")

    def warn(self, message: str, iteration: int = 0) -> None:
        """A line of the log and a record; a Python warning where there is no log."""
        if self.log.stream is None:
            warnings.warn(message, stacklevel=2)
        self.log.warn("solver.cpp:57", message)
        self._record("warning", iteration, message=message)

    def rounded(self, processes: int) -> None:
        self.log.info(
            "parallel.cpp:284",
            f"{processes} processes without shards: the result equals that of one process up to rounding, not in bits; "
            "--shards makes it the same for any number",
        )

    def starting(self, name: str, prefix: Path, iteration: int, options: Mapping[str, str], id: str = "") -> None:
        """Raises NetcError O613 where the records have no place."""
        try:
            self.metrics = Metrics(prefix, iteration, id)
        except OSError as error:
            self.warn(f"there will be no records in {path_of(prefix)}: {error.strerror or error}")
        computing = ", ".join(f"{name} {value}" for name, value in options.items())
        self.log.info("caffe.cpp:197", f"Computing with {computing}")
        self._record("options", iteration, **options)
        self.log.info("caffe.cpp:239", "Starting Optimization")
        self.log.info("solver.cpp:289", f"Solving {name}")
        self.log.info("solver.cpp:290", f"Learning Rate Policy: {self.param.lr_policy}")
        self._clock.restart()

    # -- while training ------------------------------------------------------------------------------------------------

    def training(self, iteration: int, loss: float, outputs: Mapping[str, Tensor], lr: float, net: Net) -> None:
        """The loss and outputs of a displayed iteration; its update has still to be made, as in Caffe."""
        seconds, iterations, waited = self._clock.lap(iteration, net.feeding.waited)
        self.log.training(iteration, (seconds, iterations), loss)
        self.log.outputs("Train", "solver.cpp:258", outputs, loss_weights(net.graph))
        images = iterations * self.param.iter_size * net.feeding.batch_size
        self._record(
            "train",
            iteration,
            loss=loss,
            lr=float(f"{lr:.8g}"),
            outputs=plain(outputs),
            seconds=round(seconds, 6),
            images_per_second=round(images / seconds, 3) if seconds else None,
            data_wait_share=round(waited / seconds, 4) if seconds else None,
        )

    def rate(self, iteration: int, lr: float, displayed: bool) -> None:
        """The rate of the update that follows; "multistep" tells its steps at every iteration."""
        if self.param.lr_policy == "multistep":
            taken = steps_taken(self.param, iteration)
            if taken != steps_taken(self.param, iteration - 1):
                self.log.info("sgd_solver.cpp:50", f"MultiStep Status: Iteration {iteration}, step = {taken}")
        if displayed:
            self.log.info("sgd_solver.cpp:112", f"Iteration {iteration}, lr = {lr:g}")

    def iterated(self, iteration: int, loss: float) -> None:
        if self.progress is not None:
            self.progress.update(iteration, loss)

    def clipped(self, factor: float) -> None:
        """Caffe says so at every iteration that it clips."""
        if factor != 1.0 and factor > 0:
            limit = self.param.clip_gradients
            self.log.info(
                "sgd_solver.cpp:99",
                f"Gradient clipping: scaling down gradients (L2 norm {limit / factor:g} > {limit:g}) "
                f"by scale factor {factor:g}",
            )

    def dropped(self, iteration: int, plateau: Any) -> None:
        self.log.info("sgd_solver.cpp:50", f"Plateau Status: Iteration {iteration}, step = {plateau.drops}")

    # -- tests and snapshots -------------------------------------------------------------------------------------------

    def testing(self, iteration: int, number: int) -> None:
        self.log.info("solver.cpp:347", f"Iteration {iteration}, Testing net (#{number})")
        self._started = time.perf_counter()

    def tested(self, iteration: int, number: int, result: Any, with_loss: bool) -> None:
        if with_loss and result.loss is not None:
            self.log.info("solver.cpp:401", f"Test loss: {result.loss:g}")
        self.log.outputs("Test", "solver.cpp:414", result.outputs, result.weights)
        self._record(
            "test",
            iteration,
            net=number,
            loss=result.loss,
            outputs=plain(result.outputs),
            batches=result.batches,
            samples=result.samples or None,
            seconds=round(time.perf_counter() - self._started, 6),
        )

    def _record(self, kind: str, iteration: int, **values: Any) -> None:
        if self.metrics is None:
            return
        try:
            self.metrics.write({"kind": kind, "iter": iteration, **values})
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                reason = error.strerror or error
                self.log.warn("solver.cpp:57", f"{self.metrics.path} cannot be written, training goes on: {reason}")
            return
        if self._lost:
            self.log.warn("solver.cpp:57", f"{self.metrics.path} is written again, {self._lost} records are missing")
            self._lost = 0

    def saved(self, path: Path, iteration: int) -> None:
        self._record("snapshot", iteration, file=path.name)
        weights = str(path).replace(".solverstate", ".caffemodel")
        kind, lines = ("HDF5 file", (474, 296)) if path.suffix == ".h5" else ("binary proto file", (464, 284))
        self.log.info(f"solver.cpp:{lines[0]}", f"Snapshotting to {kind} {weights}")
        self.log.info(f"sgd_solver.cpp:{lines[1]}", f"Snapshotting solver state to {kind} {path}")

    # -- the end -------------------------------------------------------------------------------------------------------

    def last_loss(self, iteration: int, loss: float) -> None:
        self.log.info("solver.cpp:327", f"Iteration {iteration}, loss = {loss:g}")

    def closed(self, iteration: int, reason: str) -> None:
        """The last record: training has ended, or an error has ended it."""
        self._record("end", iteration, reason=reason)
        if self.metrics is not None:
            self.metrics.close()
            self.metrics = None

    def ended(self, stopped: str | None) -> None:
        if stopped == "signal":
            self.log.info("solver.cpp:320", "Optimization stopped early.")
        else:
            if stopped == "plateau":
                self.log.info("solver.cpp:332", "The watched output has stopped improving at the lowest rate.")
            self.log.info("solver.cpp:332", "Optimization Done.")
            self.log.info("caffe.cpp:250", "Optimization Done.")


class _Clock:
    """Time, iterations and waiting since the last displayed iteration."""

    def __init__(self) -> None:
        self._since, self._iteration, self._waited = time.perf_counter(), -1, 0.0

    def restart(self) -> None:
        self._since, self._iteration = time.perf_counter(), -1

    def lap(self, iteration: int, waited: float) -> tuple[float, int, float]:
        """(seconds, iterations, seconds of waiting for data). The first lap is one iteration long: where a run starts
        Caffe prints a rate from an uninitialised variable."""
        now = time.perf_counter()
        iterations = iteration - self._iteration if 0 <= self._iteration < iteration else 1
        lap = now - self._since, iterations, waited - self._waited
        self._since, self._iteration, self._waited = now, iteration, waited
        return lap


def plain(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs as JSON: a number, or a list where an output has several values."""
    values = {name: list(values_of(value)) for name, value in outputs.items()}
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}
