"""Layers that belong to a phase, level and stages (Net::FilterNet, Net::StateMeetsRule)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netc.errors import Findings, NetcError, raise_all
from netc.prototxt.draft import Draft, Layers

NAMES = ("TRAIN", "TEST")
"""Phase names by number."""


def set_state(draft: Draft, phase: int, level: int = 0, stages: Iterable[str] = ()) -> Draft:
    """The caller's phase and level replace those of the file's `state`; stages are added to it."""
    state = draft.param.state
    state.phase, state.level = phase, level
    state.stage.extend(stages)
    return draft


def filter_net(draft: Draft) -> Layers:
    """The layers whose include/exclude rules fit the net's state.

    Raises NetcError G401 where a layer has both include and exclude rules (all such layers at once).
    """
    errors = Findings()
    layers = Layers(draft, draft.param.layer[:], draft.origins)
    state = draft.param.state
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
    if not all(keep):
        layers.keep(keep)
    return layers


def meets(state: Any, rule: Any) -> bool:
    """Does a NetState meet a NetStateRule: phase, min_level, max_level, all `stage`, no `not_stage`."""
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )
