"""A net whose TEST passes are run by an engine, each part proved against the exact walk when it is first used."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netc.errors import NetcError, Place, counted
from netc.errors.remark import listed
from netc.graph.ir import Graph
from netc.layers.base import Shape, format_shape
from netc.runtime.engines import backends, choice
from netc.runtime.engines.cache import digest
from netc.runtime.engines.cut import Segment, cut, graph_of
from netc.runtime.engines.known import AUTO, ENGINES, TOLERANCES, TORCH, Engine, candidates, check_precision, chosen
from netc.runtime.engines.plan import Part, Plan
from netc.runtime.engines.taken import Taken
from netc.runtime.net.module import Net
from netc.runtime.net.steps import Route
from netc.weights.proof import compared_all, reaches_of

CALIBRATION = 10
"""Batches for the ranges of int8, where nothing else is said."""


class EngineNet(Net):
    """A `Net` that runs its TEST passes by `engine` ("auto": the fastest here) in `precision`. Passes whose gradients
    can be asked for, and nets of the TRAIN phase, take the exact walk.

    `calibration`: for int8, mappings from inputs to arrays; by default the first `CALIBRATION` batches of the net's own
    data. `say` hears what a user should know: which layers stay with torch, a cache that cannot be used.
    Programs hold copies of the weights, and are made anew where these have changed (`Taken`).
    """

    engine: str
    precision: str
    calibration: Sequence[Mapping[str, Any]] | None
    plans: dict[Any, Plan]
    say: Callable[[str], None]

    def __init__(
        self,
        *args: Any,
        engine: str,
        precision: str = "fp32",
        calibration: Iterable[Mapping[str, Any]] | None = None,
        say: Callable[[str], None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__.update(engine=engine, precision=precision, plans={}, say=say or _warn)
        self.calibrate(calibration)

    def forget_programs(self) -> None:
        """Build everything anew at the next pass."""
        self.plans.clear()

    def calibrate(self, batches: Iterable[Mapping[str, Any]] | None) -> None:
        """Take the ranges of int8 from the first `CALIBRATION` of these."""
        kept = None if batches is None else list(islice(batches, CALIBRATION))
        self.__dict__["calibration"] = kept
        self.forget_programs()

    def twin(self, graph: Graph, start: Callable[[Net], Iterable[Tensor]]) -> EngineNet:
        made = EngineNet(
            graph,
            self.seed,
            start=start,
            computing=self.computing,
            engine=self.engine,
            precision=self.precision,
            calibration=self.calibration,
            say=self.say,
        )
        made.clock.to(self.clock.step.device)
        return made

    def conditions(self) -> dict[str, str]:
        names = (self.engine,) if self.engine in ENGINES else tuple(ENGINES)
        versions = ", ".join(ENGINES[name].version for name in names if not ENGINES[name].missing)
        found = {**super().conditions(), "engine": f"{self.engine} ({versions})", "precision": self.precision}
        if self.calibration is not None:
            ranges = [np.asarray(x).tobytes() for batch in self.calibration for x in batch.values()]
            found["calibration"] = digest(*ranges)
        return found

    def _walk(self, values: dict[str, Tensor], route: Route) -> dict[str, Tensor]:
        if torch.is_grad_enabled() or self.run.training or self.engine == TORCH or torch.compiler.is_compiling():
            return super()._walk(values, route)
        plan = self._planned(values, route)
        return self.run_plan(plan, values, route)

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Within it, passes take the exact walk."""
        before, self.__dict__["engine"] = self.engine, TORCH
        kept, self.__dict__["plans"] = self.plans, {}
        try:
            yield
        finally:
            self.__dict__.update(engine=before, plans=kept)

    def exact(self, values: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
        """The same blobs by torch, layer by layer."""
        with torch.no_grad():
            return super()._walk(dict(values), self._route(tuple(wanted)))

    # -- plans ---------------------------------------------------------------------------------------------------------

    def _planned(self, values: dict[str, Tensor], route: Route) -> Plan:
        key: Any = route.wanted
        if self.engine == AUTO:
            key = (route.wanted, tuple(tuple(values[name].shape) for name in route.needed))
        if key not in self.plans:
            auto = self.engine == AUTO
            made = choice.fastest(self, values, route) if auto else self.plan(self._engine(), route)
            while auto and len(self.plans) >= MOST_PROGRAMS:
                self.plans.pop(next(iter(self.plans)))
            self.plans[key] = made
        return self.plans[key]

    def _engine(self) -> Engine:
        return chosen(self.engine, self.precision, str(self.clock.step.device))

    def plan(self, engine: Engine, route: Route, quiet: bool = False) -> Plan:
        """The parts of a route for an engine; `say` hears of the layers that it leaves to torch."""
        if engine.name == TORCH:
            return Plan(engine, [])
        segments = cut(route, lambda step: backends.takes(engine, step))
        rest = [name for segment in segments if not segment.engine for name in segment.names]
        if rest and not quiet:
            kinds = {step.node.name: step.node.type for segment in segments for step, *_ in segment.steps}
            named = listed([f"{name} ({kinds[name]})" for name in rest])
            self.say(f"{engine.name} does not run {counted(len(rest), 'layer')}, which torch does: {named}")
        return Plan(engine, [Part(segment) for segment in segments])

    def route_of_outputs(self) -> Route:
        """That of a call without `blobs`."""
        return self._route(self._returned)

    def run_plan(self, plan: Plan, values: dict[str, Tensor], route: Route) -> dict[str, Tensor]:
        if not plan.parts:
            return super()._walk(values, route)
        for part in plan.parts:
            if not (part.segment.engine and self._run_part(plan, part, values)):
                for step, dead, over in part.segment.steps:
                    self._execute(step, values, over)
                    for blob in dead:
                        values.pop(blob, None)
        return {name: values[name] for name in route.wanted}

    def _run_part(self, plan: Plan, part: Part, values: dict[str, Tensor]) -> bool:
        """False where the engine cannot be trusted with these values, so that the exact walk has to compute them."""
        segment = part.segment
        inputs = [values[name] for name in segment.inputs]
        if not all(map(_usual, inputs)):
            return False
        part.forget_if_changed()
        shapes = {name: tuple(x.shape) for name, x in zip(segment.inputs, inputs, strict=True)}
        program = part.programs.get(_key(shapes, bool(part.free_batch)))
        if program is None:
            program = self._prepared(plan, part, shapes, inputs)
        with backends.failing(plan.engine, segment):
            found = program(inputs)
        if not all(map(_usual, found)):
            return False
        values.update(zip(segment.outputs, found, strict=True))
        values.update({copy: values[blob] for copy, blob in segment.copies.items()})
        return True

    def _prepared(self, plan: Plan, part: Part, shapes: dict[str, Shape], inputs: list[Tensor]) -> backends.Program:
        """The program for inputs of shapes that were not seen before. The first size of images has one of its own, as
        that is the fastest; all others share one, where that can be."""
        start = time.perf_counter()
        program = self._of_any_size(plan, part, shapes, inputs)
        if program is None:
            program = self._proved(plan, part, shapes, inputs)
            own = [key for key, other in part.programs.items() if other is not part.of_any_size]
            for key in own[: len(own) + 1 - MOST_PROGRAMS]:
                part.programs.pop(key)
        part.programs[_key(shapes, bool(part.free_batch))] = program
        part.taken = part.taken or Taken(step for step, *_ in part.segment.steps)
        plan.started += time.perf_counter() - start
        return program

    def _of_any_size(
        self, plan: Plan, part: Part, shapes: dict[str, Shape], inputs: list[Tensor]
    ) -> backends.Program | None:
        """The program for images of any size, proved on these, or, where it has been on `MOST_PROVED` sizes, looked at
        for the shapes that it makes; None where there can be none, or it is wrong."""
        if not self._for_any_size(plan, part, shapes):
            return None
        program = part.of_any_size
        try:
            if program is None:
                program = self._proved(plan, part, shapes, inputs, True)
            elif len(part.programs) <= MOST_PROVED:
                self._prove(plan, part.segment, program, self._trials(part.segment, inputs))
            else:
                self._check_shapes(plan, part.segment, program, shapes, inputs)
        except NetcError as error:
            if error.code not in ("R773", "R774") or not part.programs:  # int8 has no other one
                raise
            part.any_size = False
            return None
        if part.free_batch:
            part.of_any_size = program
        return program

    def _proved(
        self, plan: Plan, part: Part, shapes: dict[str, Shape], inputs: list[Tensor], any_size: bool = False
    ) -> backends.Program:
        """A new program, proved on these inputs. Where it is wrong, what the cache had may be damaged: once more
        without that."""
        segment, device = part.segment, self.clock.step.device
        exact = self._trials(segment, inputs)
        for last in (False, True):
            made = backends.made(
                plan.engine, self.precision, segment, shapes, device, self._samples, self.say, any_size
            )
            part.free_batch = made.free_batch
            try:
                self._prove(plan, segment, made.program, exact)
                break
            except NetcError:
                if last or made.folder is None or not made.folder.found:
                    raise
                made.folder.remove()
        return made.program

    def _for_any_size(self, plan: Plan, part: Part, shapes: dict[str, Shape]) -> bool:
        if not part.programs and not (self.precision == INT8 and self._calibrated_otherwise(shapes)):
            return False
        if part.free_batch is not False and part.any_size is None:
            part.any_size = backends.takes_any_size(plan.engine, part.segment, shapes)
        return part.free_batch is not False and bool(part.any_size)

    def _check_shapes(
        self, plan: Plan, segment: Segment, program: backends.Program, shapes: dict[str, Shape], inputs: list[Tensor]
    ) -> None:
        """Raises NetcError R773, or what the layers say of these shapes."""
        wanted = graph_of(segment, shapes).shapes
        with backends.failing(plan.engine, segment):
            found = program(inputs)
        for name, y in zip(segment.outputs, found, strict=True):
            if tuple(y.shape) != wanted[name]:
                there, here = format_shape(y.shape), format_shape(wanted[name])
                message = f'the engine {plan.engine.name} gives a "{name}" of {there}, not {here}'
                raise NetcError("R773", message, Place(self.graph.path), ANOTHER)

    # -- the proof -----------------------------------------------------------------------------------------------------

    def _trials(self, segment: Segment, inputs: list[Tensor]) -> list[dict[str, Any]]:
        """The exact blobs that a program is proved on: those of the batch itself, and of random numbers where that is
        the same everywhere, as those are by which programs are warmed up: it would show little."""
        trials = [inputs]
        if self.precision != INT8 and any(bool((x == x.view(-1)[0]).all()) for x in map(Tensor.contiguous, inputs)):
            numbers = torch.Generator().manual_seed(0)
            trials.append([torch.randn(x.shape, generator=numbers).to(x.device) for x in inputs])
        return [self._exact_blobs(segment, given) for given in trials]

    def _exact_blobs(self, segment: Segment, inputs: list[Tensor]) -> dict[str, Any]:
        """The inputs and outputs of a segment by the exact walk. Raises what a layer says of their shapes."""
        values = dict(zip(segment.inputs, (x.clone() for x in inputs), strict=True))
        blobs: dict[str, Any] = {name: x.cpu().numpy() for name, x in zip(segment.inputs, inputs, strict=True)}
        for step, *_ in segment.steps:
            self._execute(step, values, False)
            blobs.update({top: values[top].float().cpu().numpy() for top in step.tops if top in segment.outputs})
        return blobs

    def _prove(self, plan: Plan, segment: Segment, program: backends.Program, exact: list[dict[str, Any]]) -> None:
        """Raises NetcError R773 where the engine computes anything else than the exact walk did."""
        for blobs in exact:
            self._compare(plan, segment, program, blobs)

    def _compare(self, plan: Plan, segment: Segment, program: backends.Program, blobs: dict[str, Any]) -> None:
        inputs = [torch.from_numpy(blobs[name]).to(self.clock.step.device) for name in segment.inputs]
        with backends.failing(plan.engine, segment):
            found = program(inputs)
        made = {name: y.cpu().numpy() for name, y in zip(segment.outputs, found, strict=True)}
        steps = [(step.node.bottoms, step.tops) for step, *_ in segment.steps]
        runs = compared_all({name: blobs[name] for name in segment.outputs}, made, reaches_of(blobs, steps))
        allowed = TOLERANCES[self.precision]
        for run in runs:
            plan.differences[run.name] = max(run.relative, plan.differences.get(run.name, 0.0))
            if not run.relative <= allowed:
                message = (
                    f'the engine {plan.engine.name} in {self.precision} gives another "{run.name}": the largest '
                    f"difference is {run.largest:.3g} where values reach {run.scale:.3g}; "
                    f"allowed is {allowed:g} of that"
                )
                raise NetcError("R773", message, Place(self.graph.path), ANOTHER)

    # -- int8 ----------------------------------------------------------------------------------------------------------

    def _samples(self, segment: Segment) -> list[dict[str, Any]]:
        """What goes into a segment in some batches. Raises NetcError R775 where there are no data for it."""
        found = []
        for batch in islice(self._calibration(), CALIBRATION):
            tensors = {name: torch.as_tensor(x, device=self.clock.step.device).float() for name, x in batch.items()}
            values = self.exact(tensors, segment.inputs)
            found.append({name: values[name].cpu().numpy() for name in segment.inputs})
        if not found:
            raise self._without_data()
        return found

    def _calibration(self) -> Iterable[Mapping[str, Any]]:
        if self.calibration is not None:
            return self.calibration
        if self.feeding.unfed or not self.feeding.fed:
            raise self._without_data()
        return (self.feeding.batch(k) for k in range(CALIBRATION))

    def _calibrated_otherwise(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether the ranges come from images of another size than these."""
        first = next(iter(self.calibration or ()), {})
        return any(tuple(np.shape(first[name])[1:]) != shape[1:] for name, shape in shapes.items() if name in first)

    def _without_data(self) -> NetcError:
        message = "int8 needs the ranges of values, and the net has no data to find them from"
        hint = "give calibration=[{input: array}, …], or a net with a data layer"
        return NetcError("R775", message, Place(self.graph.path), hint)


MOST_PROGRAMS = 8
"""Programs of a segment that are kept, one for each size of image. Also plans of `auto`, which has one for each."""

MOST_PROVED = 4
"""Sizes of images on which a program for any size is compared with the exact walk. Of others the shapes are."""

ANOTHER = "take another engine or precision; torch is always exact"
INT8 = "int8"


def _usual(x: Tensor) -> bool:
    """Whether an engine computes with it as netc does: not where it is empty, of another type, or has NaN or infinity,
    for which MAX pooling and ReLU have other rules elsewhere. A GPU would have to be waited for to know that. numpy
    adds up, for torch's threads would go on spinning for a while, and take the cores from the engine's."""
    if x.dtype is not torch.float32 or not x.numel():
        return False
    if x.device.type != "cpu":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.add.reduce(x.detach().numpy(), axis=None))


def _key(shapes: Mapping[str, Shape], free_batch: bool) -> tuple[Shape, ...]:
    return tuple(shape[1:] if free_batch else shape for shape in shapes.values())


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=6)


def check(engine: str, precision: str, device: str, phase: int) -> None:
    """Raises NetcError as `known.chosen`, before anything is loaded; R776 for the TRAIN phase."""
    if engine == AUTO:
        check_precision(precision)
        if not candidates(precision, device):
            message = f"no engine that is installed here has {precision}"
            raise NetcError("R772", message, None, "pip install 'netc[openvino,onnx]'")
    else:
        chosen(engine, precision, device)
    if phase == 0:
        message = f"the engine {engine} runs nets of the TEST phase, and this is that of TRAIN"
        raise NetcError("R776", message, None, "take torch for training")
