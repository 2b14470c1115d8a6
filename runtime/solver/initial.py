"""Where the first weights come from: files copied by layer name, transplants of chosen layers (paper, Sect. 3.1)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from netc import weights
from netc.errors import NetcError, Place
from netc.errors.origin import Origin
from netc.files.paths import resolve
from netc.runtime.net.module import Net
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
    """Weight files, read but not copied yet. `restored`: a snapshot will overwrite every layer anyway. `passed_over`:
    fields of the solver that name weights, and are not used since others were given."""

    files: list[tuple[str, Any]] = field(default_factory=list)
    transplants: list[Transplant] = field(default_factory=list)
    restored: frozenset[str] = frozenset()
    passed_over: tuple[str, ...] = ()

    @property
    def overwritten(self) -> frozenset[str]:
        """Layers whose fillers need not run."""
        whole = (name for _, arrays in self.files for name, blobs in arrays.items() if blobs)
        named = (layer for transplant in self.transplants for layer, _ in transplant.pairs)
        return frozenset((*whole, *named)) | self.restored

    def copy_into(self, net: Net, report: Report) -> list[str]:
        """Copy in order, files first. A transplant must fit exactly; its plan is reported layer by layer. Returns the
        layers that have an array which no file filled."""
        if self.passed_over:
            report.warn(f"the solver's {' and '.join(self.passed_over)} not used: weights are given in their place")
        fresh = list(net.params)
        for path, arrays in self.files:
            plan = net.copy_from(arrays)
            report.finetuning(path, plan)
            fresh = [name for name in fresh if name in plan.fresh]
        for transplant in self.transplants:
            plan = weights.transplant(transplant.pairs, transplant.arrays, weights.target_of(net.params))
            plan.copy_into(net.params)
            report.transplanted(plan)
            fresh = [name for name in fresh if name in plan.fresh]
        return fresh


def sources(param: Any, origin: Origin, given: str | Sequence[str] | None, snapshot: Snapshot | None = None) -> Sources:
    """Read the files to start from: the ones given, else what the solver names; none where a snapshot follows.

    Raises NetcError (F110 and the other codes of netc.weights; R625 for a transplant that copies nothing).
    """
    if snapshot is not None:
        return Sources(restored=frozenset(weights.read(snapshot.weights)))
    if given is not None:
        unused = tuple(name for name in ("weights", "transplant_param") if getattr(param, name))
        return Sources([(path, weights.read(path)) for path in names(given)], passed_over=unused)
    near = origin.start.path
    files = [(path, weights.read(resolve(path, near))) for path in names(list(param.weights))]
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
