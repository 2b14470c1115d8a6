"""Layers that belong to a phase, level and stages (Net::FilterNet, Net::StateMeetsRule)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

from netc.errors import Findings, NetcError, raise_all
from netc.errors.origin import Origin
from netc.prototxt.draft import Draft

NAMES = ("TRAIN", "TEST")
"""Phase names by number."""


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers that a draft has in a state (a NetState), in order. `origins` runs parallel to `params`, which are the
    draft's own messages."""

    draft: Draft
    state: Any
    params: list[Any]
    origins: list[Origin]
    dropped: dict[str, tuple[str, Origin]] = field(default_factory=dict)
    """Top of a layer that the state leaves out → the layer's name and origin."""

    def keep(self, stays: Sequence[bool]) -> Layers:
        """Those whose flag is True."""
        return replace(self, params=list(compress(self.params, stays)), origins=list(compress(self.origins, stays)))


def phase_number(phase: int | str) -> int:
    """0 for TRAIN, 1 for TEST; the names in either case."""
    if isinstance(phase, str) and phase.upper() in NAMES:
        return NAMES.index(phase.upper())
    if phase in (0, 1):
        return int(phase)
    raise NetcError("C101", f"phase is TRAIN or TEST, not {phase!r}")


def state_of(draft: Draft, phase: int, level: int = 0, stages: Iterable[str] = ()) -> Any:
    """The NetState to filter a net for: the caller's phase and level instead of those of the file's `state`; stages are
    added to it."""
    given = draft.param.state
    state = type(given)()
    state.CopyFrom(given)
    state.phase, state.level = phase, level
    state.stage.extend(stages)
    return state


def filter_net(draft: Draft, state: Any) -> Layers:
    """The layers whose include/exclude rules fit the state.

    Raises NetcError G401 where a layer has both include and exclude rules (all such layers at once).
    """
    errors = Findings()
    layers = Layers(draft, state, draft.param.layer[:], draft.origins)
    keep = []
    for layer, origin in zip(layers.params, layers.origins, strict=True):
        include, exclude = layer.include, layer.exclude
        if include and exclude:
            message = f'layer "{layer.name}" has both include and exclude rules'
            errors.add(NetcError("G401", message, origin.place("exclude"), "keep one kind"))
        keep.append(
            any(meets(state, rule) for rule in include) if include else not any(meets(state, rule) for rule in exclude)
        )
        if not keep[-1]:
            layers.dropped.update((top, (layer.name, origin)) for top in layer.top)
    raise_all(errors)
    return layers if all(keep) else layers.keep(keep)


def meets(state: Any, rule: Any) -> bool:
    """Does a NetState meet a NetStateRule: phase, min_level, max_level, all `stage`, no `not_stage`."""
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )
