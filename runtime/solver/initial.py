"""Where the first weights come from: files copied by layer name, transplants of chosen layers (paper, Sect. 3.1)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from netc import weights
from netc.errors import NetcError, Place
from netc.errors.origin import Origin
from netc.files.paths import resolve
from netc.runtime.net.module import Net, memory_of
from netc.runtime.solver.report import Report
from netc.runtime.solver.snapshot import Snapshot


@dataclass(slots=True)
class Transplant:
    """Layers to be copied: (name here, name in the file) from `arrays`, what `path` holds."""

    path: str
    arrays: Any
    pairs: list[tuple[str, str]]


@dataclass(slots=True)
class Sources:
    """Weight files, read but not copied yet. `restored`: layers that a snapshot will overwrite. `passed_over`: fields
    of the solver that name weights, and are not used since others were given."""

    files: list[tuple[str, Any]] = field(default_factory=list)
    transplants: list[Transplant] = field(default_factory=list)
    restored: frozenset[str] = frozenset()
    passed_over: tuple[str, ...] = ()

    def copy_into(self, net: Net, report: Report) -> list[Tensor]:
        """Copy in order, files first. A transplant must fit exactly; its plan is reported layer by layer. Returns the
        parameters that are written, or will be by a snapshot. Raises NetcError W724 for a file of no layer of the net.
        """
        if self.passed_over:
            report.warn(f"the solver's {' and '.join(self.passed_over)} not used: weights are given in their place")
        written = [blob for name, blobs in net.params.items() if name in self.restored for blob in blobs]
        for path, arrays in self.files:
            plan = net.copy_from(arrays)
            report.finetuning(path, plan)
            written += plan.written(net.params)
        for transplant in self.transplants:
            plan = weights.transplant(transplant.pairs, transplant.arrays, weights.target_of(net.params))
            plan.copy_into(net.params)
            report.transplanted(plan)
            written += plan.written(net.params)
        if self.files:
            report.missing(_unwritten(net, written), len(net.params), ", ".join(path for path, _ in self.files))
        return written


def _unwritten(net: Net, written: Sequence[Tensor]) -> list[str]:
    """The layers with a parameter that is not among `written`, whichever layer shares it."""
    done = {memory_of(tensor) for tensor in written}
    return [name for name, blobs in net.params.items() if any(memory_of(blob) not in done for blob in blobs)]


def sources(
    param: Any, origin: Origin, given: str | Sequence[str] | None, snapshot: Snapshot | None = None, own: str = ""
) -> Sources:
    """Read the files to start from: the ones given, else what the solver names, else the net's own file, `own`, where
    it has weights; none where a snapshot follows.

    Raises NetcError (F110 and the other codes of netc.weights; R625 for a transplant that copies nothing).
    """
    if snapshot is not None:
        return Sources(restored=frozenset(weights.read(snapshot.weights)))
    if given is not None:
        unused = tuple(name for name in ("weights", "transplant_param") if getattr(param, name))
        return Sources([(path, weights.read(path)) for path in names(given)], passed_over=unused)
    near = origin.start.path
    files = [(path, weights.read(resolve(path, near))) for path in names(list(param.weights))]
    if own and not files:
        files = [(own, weights.read(own))]
    return Sources(files, list(_transplants(param, origin, near)))


def names(given: str | Sequence[str]) -> list[str]:
    """Paths, each possibly several with commas between them (as in Caffe)."""
    entries = [given] if isinstance(given, str | os.PathLike) else given
    return [part.strip() for entry in entries for part in str(entry).split(",") if part.strip()]


def _transplants(param: Any, origin: Origin, near: str) -> Iterator[Transplant]:
    for number, entry in enumerate(param.transplant_param):
        place = origin.place(f"transplant_param[{number}]")
        if not entry.weights or not entry.copy:
            missing = "weights" if not entry.weights else "copy"
            raise NetcError(
                "R625",
                f"transplant_param has no {missing}",
                place,
                'write weights: "file" and a copy { layer: "name" } for each layer',
            )
        pairs = [(copy.layer, copy.source or copy.layer) for copy in entry.copy]
        path = _found(entry.weights, near, origin.place(f"transplant_param[{number}].weights"))
        yield Transplant(path, weights.read(path), pairs)


def _found(name: str, near: str, place: Place) -> str:
    try:
        return resolve(name, near, "weights", place)
    except NetcError as error:
        hint = error.hint or "train that net first, in this folder; without transplant_param all layers are filled"
        raise NetcError(error.code, error.message, error.place, hint) from None
