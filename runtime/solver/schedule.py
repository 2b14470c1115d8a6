"""How far a schedule has come, as its snapshots tell: there is no other record of it.

A step is done when its newest whole snapshot has reached max_iter, or its plateau policy had ended training. A step
that was begun goes on from that snapshot; a snapshot keeps the SHA-256 of the weights that its run started from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netc.errors import NetcError
from netc.errors.words import table
from netc.runtime.solver.identity import Command, chosen, seen_from
from netc.runtime.solver.manifest import read_manifest
from netc.runtime.solver.snapshot import Snapshot
from netc.solver.schedule import Step


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a step has come: `iteration` of `target`. weights: the last snapshot's, and their SHA-256, once it is
    done. start: the SHA-256 of the weights that it started from, where a step gave them."""

    name: str
    iteration: int
    target: int
    done: bool = False
    weights: str = ""
    sha256: str = ""
    start: str = ""

    @property
    def word(self) -> str:
        return "done" if self.done else "begun" if self.iteration else "to do"


def standings(steps: Iterable[Step], seed: int | None = None) -> dict[str, Standing]:
    """How far each step has come, by name, in the run that its solver and `seed` (None: any) have begun.

    Raises NetcError O630 for a step that was begun from other weights than those of its source now, O614 where its
    snapshots are those of other runs.
    """
    found: dict[str, Standing] = {}
    for step in steps:
        found[step.name] = mine = _standing(step, seed)
        if step.weights_from and mine.start and mine.start != found[step.weights_from].sha256:
            raise _other_start(step, found[step.weights_from])
    return found


def _standing(step: Step, seed: int | None) -> Standing:
    command = Command(seen_from(step.prefix, step.path), seed)
    newest, _ = chosen(step.prefix, command, "", lambda error: None)
    if newest is None:
        return Standing(step.name, 0, step.param.max_iter)
    ended = bool((newest.extras.get("plateau") or {}).get("finished"))
    done = ended or newest.iteration >= step.param.max_iter
    start = str(newest.extras.get("start") or "")
    last = (str(newest.weights), _sha256(newest)) if done else ("", "")
    return Standing(step.name, newest.iteration, step.param.max_iter, done, *last, start)


def _sha256(snapshot: Snapshot) -> str:
    name = snapshot.path.name.removesuffix(".h5").removesuffix(".solverstate")
    manifest = read_manifest(snapshot.path.with_name(f"{name}.manifest.json"))
    return manifest.files[snapshot.weights.name].sha256


def _other_start(step: Step, source: Standing) -> NetcError:
    now = f"has other weights now ({source.weights})" if source.done else "is not done"
    return NetcError(
        "O630",
        f'the step "{step.name}" was begun from weights of "{source.name}", which {now}',
        step.here.place("weights_from"),
        f"to train it from the new ones, move {step.prefix}_iter_* away; to keep it, bring back those of {source.name}",
    )


def lines(steps: Sequence[Step], found: dict[str, Standing], others: Sequence[Step] = ()) -> list[str]:
    """The schedule as a table, the steps that are not run at its end."""
    rows = [
        (step.name, step.source, f"{at.iteration} of {at.target}", at.word, str(step.prefix))
        for step in steps
        for at in [found[step.name]]
    ]
    rows += [
        (step.name, step.source, "", "alternative" if step.alternative else "not asked for", str(step.prefix))
        for step in others
    ]
    return table(("step", "starts from", "iterations", "state", "snapshots"), rows, (2,))
